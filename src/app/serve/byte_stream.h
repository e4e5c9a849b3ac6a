// What a connection reads from and writes to: a socket as it is, or TLS over it (tls.h).
#pragma once

#include <boost/asio/buffer.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/system/error_code.hpp>
#include <cstddef>
#include <functional>
#include <memory>

namespace lapidary {

using HttpSocket = boost::asio::generic::stream_protocol::socket;

// Everything on the loop's thread. One read and one write may be under way at the same time. What is given as `done`
// has to keep the stream alive; it is called later, also after close(), with an error then.
class ByteStream {
 public:
  using Done = std::function<void(boost::system::error_code error)>;
  using DoneSome = std::function<void(boost::system::error_code error, size_t bytes)>;

  virtual ~ByteStream() = default;
  // Before anything is read or written: the handshake, if there is one. Without one `done` is called at once.
  virtual void open(Done done) = 0;
  // At least a byte; asio::error::eof: the other side has ended its output in order.
  virtual void read_some(boost::asio::mutable_buffer into, DoneSome done) = 0;
  virtual void write_all(boost::asio::const_buffer bytes, DoneSome done) = 0;
  // Nothing is written from now on, and the other side is told so. It may still be read.
  virtual void end_output(Done done) = 0;
  virtual void close() = 0;
};

std::unique_ptr<ByteStream> plain_stream(HttpSocket socket);

}  // namespace lapidary
