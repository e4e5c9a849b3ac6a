#include "serve/byte_stream.h"

#include <boost/asio/write.hpp>

namespace lapidary {
namespace {

using boost::system::error_code;

class PlainStream final : public ByteStream {
 public:
  explicit PlainStream(HttpSocket socket) : socket_(std::move(socket)) {}

  void open(Done done) override { done({}); }
  void read_some(boost::asio::mutable_buffer into, DoneSome done) override {
    socket_.async_read_some(into, std::move(done));
  }
  void write_all(boost::asio::const_buffer bytes, DoneSome done) override {
    boost::asio::async_write(socket_, bytes, std::move(done));
  }
  void end_output(Done done) override {
    error_code error;
    socket_.shutdown(HttpSocket::shutdown_send, error);
    done(error);
  }
  void close() override {
    error_code ignored;
    socket_.close(ignored);
  }

 private:
  HttpSocket socket_;
};

}  // namespace

std::unique_ptr<ByteStream> plain_stream(HttpSocket socket) { return std::make_unique<PlainStream>(std::move(socket)); }

}  // namespace lapidary
