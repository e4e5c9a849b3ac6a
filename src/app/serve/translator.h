// From the service's events to what one dialect writes. One object a request; the loop's thread only.
#pragma once

#include <cstddef>
#include <string>

#include "serve/api_error.h"
#include "serve/http_message.h"
#include "service/service.h"

namespace lapidary {

class Translator {
 public:
  virtual ~Translator() = default;

  // A stream, or one answer at the end.
  virtual bool streams() const = 0;
  virtual std::string content_type() const { return "text/event-stream"; }

  // Streams append to `out` what is to be sent; other answers only take note. `choice`: which of the request's replies.
  virtual void begin(std::string& out) { (void)out; }
  virtual void event(size_t choice, GenerateEvent& event, std::string& out) = 0;
  virtual void end(std::string& out) { (void)out; }  // every choice has ended
  virtual HttpReply whole() = 0;

  // Before anything was sent, and afterwards.
  virtual HttpReply error(const ApiError& error) = 0;
  virtual void stream_error(const ApiError& error, std::string& out) = 0;
  // Something that says "still at work" and means nothing; "" if the dialect has no such thing.
  virtual std::string ping() const { return ": reading\n\n"; }
};

}  // namespace lapidary
