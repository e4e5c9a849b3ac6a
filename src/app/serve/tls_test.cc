// TLS: which certificates and keys are taken, and what goes over it.
#include "serve/tls.h"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>
#include <filesystem>
#include <fstream>

#include "base/secret.h"
#include "serve/running_server_for_test.h"

namespace lapidary {
namespace {

namespace asio = boost::asio;
namespace fs = std::filesystem;
namespace ssl = asio::ssl;
using asio::ip::tcp;

constexpr long day_seconds = 24 * 3600;

struct Pem {
  std::string certificate, key;
};

std::string bio_text(BIO* bio) {
  char* data = nullptr;
  const long bytes = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<size_t>(bytes));
  BIO_free(bio);
  return text;
}

// A certificate that vouches for itself, from `begin` to `end` seconds from now. names: "DNS:a,IP:b"; "": none.
Pem self_signed(const char* names = "DNS:localhost,DNS:*.Example.test,IP:127.0.0.1,IP:::1", long begin = -day_seconds,
                long end = day_seconds, const char* passphrase = nullptr) {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* certificate = X509_new();
  X509_set_version(certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate), begin);
  X509_gmtime_adj(X509_getm_notAfter(certificate), end);
  X509_NAME* subject = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("test"), -1, -1, 0);
  X509_set_issuer_name(certificate, subject);
  X509_set_pubkey(certificate, key);
  if (*names != '\0') {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, names);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
  }
  X509_sign(certificate, key, EVP_sha256());
  Pem pem;
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(bio, certificate);
  pem.certificate = bio_text(bio);
  bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PKCS8PrivateKey(bio, key, passphrase != nullptr ? EVP_aes_256_cbc() : nullptr, passphrase,
                                passphrase != nullptr ? 4 : 0, nullptr, nullptr);
  pem.key = bio_text(bio);
  X509_free(certificate);
  EVP_PKEY_free(key);
  return pem;
}

class Folder {
 public:
  Folder() : path_(fs::temp_directory_path() / ("lapidary-tls-" + random_hex(8))) { fs::create_directory(path_); }
  ~Folder() { fs::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::string put(const std::string& name, const std::string& text, bool secret = true) const {
    std::ofstream(path_ / name) << text;
    if (secret) fs::permissions(path_ / name, fs::perms::owner_read | fs::perms::owner_write);
    return (path_ / name).string();
  }
  std::string path(const std::string& name) const { return (path_ / name).string(); }

 private:
  fs::path path_;
};

std::string refusal(const std::string& certificate, const std::string& key, ErrorKind kind = ErrorKind::refused) {
  const auto identity = TlsIdentity::load(certificate, key);
  if (identity) return "";
  CHECK(identity.error().kind == kind);
  return identity.error().text();
}

struct Identity {
  Folder folder;
  Pem pem = self_signed();
  std::shared_ptr<const TlsIdentity> tls;
  Identity() {
    auto loaded = TlsIdentity::load(folder.put("c", pem.certificate), folder.put("k", pem.key));
    REQUIRE_MESSAGE(loaded.has_value(), (loaded ? "" : loaded.error().text()));
    tls = *loaded;
  }
};

struct TlsClient {
  asio::io_context context;
  ssl::context trust{ssl::context::tls_client};
  std::optional<ssl::stream<tcp::socket>> stream;

  TlsClient(uint16_t port, const std::string& certificate) {
    trust.add_certificate_authority(asio::buffer(certificate));
    stream.emplace(context, trust);
    stream->set_verify_mode(ssl::verify_peer);
    stream->next_layer().connect({asio::ip::address_v4::loopback(), port});
  }
  bool shake_hands() {
    boost::system::error_code error;
    stream->handshake(ssl::stream_base::client, error);
    return !error;
  }
  void send(const std::string& bytes) { asio::write(*stream, asio::buffer(bytes)); }
  std::string read_some() {
    std::string bytes(4096, '\0');
    boost::system::error_code error;
    bytes.resize(stream->read_some(asio::buffer(bytes), error));
    return bytes;
  }
  std::string read_to(const std::string& end) {
    std::string all;
    for (std::string part = read_some(); !part.empty(); part = read_some()) {
      all += part;
      if (all.find(end) != std::string::npos) break;
    }
    return all;
  }
};

std::string health(uint16_t port) { return fmt::format("GET /health HTTP/1.1\r\nHost: localhost:{}\r\n\r\n", port); }

}  // namespace

TEST_CASE("a certificate is taken with the names that it is for") {
  const Identity identity;
  CHECK(identity.tls->names() == std::vector<std::string>{"localhost", "*.example.test", "127.0.0.1", "[::1]"});
}

TEST_CASE("what cannot be used is refused, and why") {
  const Folder folder;
  const Pem good = self_signed(), other = self_signed();
  const std::string certificate = folder.put("c", good.certificate), key = folder.put("k", good.key);
  CHECK(refusal(certificate, key).empty());
  CHECK(refusal(folder.path("none"), key, ErrorKind::not_found).find("none") != std::string::npos);
  CHECK(refusal(certificate, folder.path("none"), ErrorKind::not_found).find("none") != std::string::npos);
  CHECK(refusal(certificate, folder.put("o", other.key)).find("is not the key of") != std::string::npos);
  CHECK(refusal(key, key).find("certificates in PEM") != std::string::npos);
  CHECK(refusal(certificate, certificate).find("0600") == std::string::npos);
  CHECK(refusal(certificate, certificate).find("a private key in PEM") != std::string::npos);
  CHECK(refusal(folder.put("half", good.certificate + other.certificate.substr(0, 200)), key)
            .find("certificates in PEM") != std::string::npos);
  const Pem locked = self_signed("DNS:a", -day_seconds, day_seconds, "word");
  CHECK(refusal(folder.put("lc", locked.certificate), folder.put("lk", locked.key)).find("encrypted") !=
        std::string::npos);
  const std::string open = folder.put("open", good.key);
  fs::permissions(open, fs::perms::group_read, fs::perm_options::add);
  CHECK(refusal(certificate, open).find("0600") != std::string::npos);
}

TEST_CASE("a certificate has to be valid today, and to name a host") {
  const Folder folder;
  const auto of = [&](const Pem& pem) { return refusal(folder.put("c", pem.certificate), folder.put("k", pem.key)); };
  CHECK(of(self_signed("DNS:a", -2 * day_seconds, -1)).find("expired on 20") != std::string::npos);
  CHECK(of(self_signed("DNS:a", day_seconds, 2 * day_seconds)).find("not valid before 20") != std::string::npos);
  CHECK(of(self_signed("")).find("subjectAltName") != std::string::npos);
}

TEST_CASE("answers and streams go over TLS, and who leaves ends the work") {
  const Identity identity;
  Running server({}, identity.tls);
  CHECK(server.app->url() == fmt::format("https://127.0.0.1:{}", server.app->port()));
  server.service.script = [](const GenerateSink& sink) {
    sink(TextDelta{std::string(100'000, 'a')});  // several records
    sink(UsageEvent{});
  };
  {
    TlsClient client(server.app->port(), identity.pem.certificate);
    REQUIRE(client.shake_hands());
    client.send(server.request(false));
    CHECK(client.read_to("a\"").size() > 90'000);
    client.send(server.request(true));  // on the same connection
    CHECK(client.read_to("[DONE]").find("data: ") != std::string::npos);
    CHECK(soon([&] { return server.service.cancelled == 2; }));
  }
  server.service.script = [](const GenerateSink& sink) { sink(TextDelta{"a"}); };  // and does not end
  for (const bool orderly : {true, false}) {
    const int before = server.service.cancelled;
    TlsClient client(server.app->port(), identity.pem.certificate);
    REQUIRE(client.shake_hands());
    client.send(server.request(true));
    client.read_to("\"a\"");
    if (orderly) {
      client.stream->async_shutdown([](boost::system::error_code) {});  // the end of TLS alone; the socket stays
      client.context.run_for(std::chrono::milliseconds(500));
    } else {
      client.stream->next_layer().close();
    }
    CHECK(soon([&] { return server.service.cancelled == before + 1; }));
  }
}

TEST_CASE("an answer that ends the connection ends TLS in order") {
  const Identity identity;
  const Running server({}, identity.tls);
  TlsClient client(server.app->port(), identity.pem.certificate);
  REQUIRE(client.shake_hands());
  client.send(fmt::format("GET /health HTTP/1.0\r\nHost: localhost:{}\r\n\r\n", server.app->port()));
  CHECK(client.read_to("\"ok\"").starts_with("HTTP/1.1 200"));
  std::string rest(10, '\0');
  boost::system::error_code error;
  while (!error) client.stream->read_some(asio::buffer(rest), error);
  CHECK(error == asio::error::eof);  // not ssl::error::stream_truncated
}

TEST_CASE("old versions, other protocols and plain HTTP get nothing") {
  const Identity identity;
  const Running server({}, identity.tls);
  {
    TlsClient old(server.app->port(), identity.pem.certificate);
    SSL_set_max_proto_version(old.stream->native_handle(), TLS1_1_VERSION);
    SSL_set_cipher_list(old.stream->native_handle(), "ALL:@SECLEVEL=0");
    CHECK_FALSE(old.shake_hands());
  }
  {
    TlsClient other(server.app->port(), identity.pem.certificate);
    const unsigned char only_h2[] = {2, 'h', '2'};
    SSL_set_alpn_protos(other.stream->native_handle(), only_h2, sizeof only_h2);
    CHECK_FALSE(other.shake_hands());
  }
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    TlsClient both(server.app->port(), identity.pem.certificate);
    const unsigned char either[] = {2, 'h', '2', 8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
    SSL_set_alpn_protos(both.stream->native_handle(), either, sizeof either);
    SSL_set_max_proto_version(both.stream->native_handle(), version);
    REQUIRE(both.shake_hands());
    both.send(health(server.app->port()));
    CHECK(both.read_some().starts_with("HTTP/1.1 200"));
  }
  asio::io_context context;
  tcp::socket plain(context);
  plain.connect({asio::ip::address_v4::loopback(), server.app->port()});
  asio::write(plain, asio::buffer(health(server.app->port())));
  std::string bytes(4096, '\0');
  boost::system::error_code error;
  bytes.resize(plain.read_some(asio::buffer(bytes), error));
  CHECK(bytes.find("HTTP") == std::string::npos);
  while (!error) plain.read_some(asio::buffer(bytes.empty() ? bytes = "x" : bytes), error);
  CHECK(error);
}

TEST_CASE("who does not finish the handshake is dropped, and hurts nobody") {
  const Identity identity;
  HttpLimits limits;
  limits.handshakes_max = 4;
  limits.handshake_seconds = 1;
  Running server(limits, identity.tls);
  TlsClient kept(server.app->port(), identity.pem.certificate);
  REQUIRE(kept.shake_hands());
  asio::io_context context;
  std::vector<tcp::socket> silent;
  for (int i = 0; i < 40; ++i)
    silent.emplace_back(context).connect({asio::ip::address_v4::loopback(), server.app->port()});
  // One too many pushes out the oldest at once.
  char byte = 0;
  boost::system::error_code error;
  const auto begin = std::chrono::steady_clock::now();
  silent.front().read_some(asio::buffer(&byte, 1), error);
  CHECK(error);
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::milliseconds(900));
  kept.send(health(server.app->port()));  // which waited all the while
  CHECK(kept.read_some().starts_with("HTTP/1.1 200"));
  TlsClient fresh(server.app->port(), identity.pem.certificate);
  REQUIRE(fresh.shake_hands());
  fresh.send(health(server.app->port()));
  CHECK(fresh.read_some().starts_with("HTTP/1.1 200"));
  // The others have their time, and no more.
  silent.back().read_some(asio::buffer(&byte, 1), error);
  CHECK(error);
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(5));
}

TEST_CASE("an address that others reach needs TLS, and keys") {
  const Identity identity;
  CountingService service;
  KeyStore keys{{Key{"test", "0123456789abcdef", Scope::infer, false}}};
  ServeAppOptions options;
  options.port = 0;
  options.host = "0.0.0.0";
  auto started = ServeApp::start(options, service, keys);
  REQUIRE_FALSE(started.has_value());
  CHECK(started.error().text().find("TLS") != std::string::npos);
  options.tls = identity.tls;
  options.no_key_on_loopback = true;
  started = ServeApp::start(options, service, keys);
  REQUIRE_FALSE(started.has_value());
  CHECK(started.error().text().find("a key is needed") != std::string::npos);
  options.no_key_on_loopback = false;
  started = ServeApp::start(options, service, keys);
  REQUIRE(started.has_value());
  CHECK((*started)->url() == fmt::format("https://localhost:{}", (*started)->port()));
}

}  // namespace lapidary
