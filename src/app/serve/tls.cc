#include "serve/tls.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>

#include "base/mapped_file.h"
#include "base/secret.h"

namespace lapidary {

namespace asio = boost::asio;
namespace ssl = boost::asio::ssl;

struct TlsIdentity::Context {
  ssl::context context{ssl::context::tls_server};
};

namespace {

constexpr uint64_t pem_bytes_max = 1 << 20;
// TLS 1.2: ephemeral keys and authenticated encryption alone. TLS 1.3 has nothing else.
constexpr const char* ciphers_tls12 = "ECDHE+AESGCM:ECDHE+CHACHA20";

template <typename T, void (*release)(T*)>
struct Release {
  void operator()(T* object) const { release(object); }
};
void free_bio(BIO* bio) { BIO_free(bio); }
void free_names(GENERAL_NAMES* names) { GENERAL_NAMES_free(names); }
using Bio = std::unique_ptr<BIO, Release<BIO, free_bio>>;
using Certificate = std::unique_ptr<X509, Release<X509, X509_free>>;
using PrivateKey = std::unique_ptr<EVP_PKEY, Release<EVP_PKEY, EVP_PKEY_free>>;
using GeneralNames = std::unique_ptr<GENERAL_NAMES, Release<GENERAL_NAMES, free_names>>;

// Why OpenSSL's last call failed, in its words; the queue is empty afterwards.
std::string openssl_reason() {
  const char* reason = ERR_reason_error_string(ERR_peek_error());
  ERR_clear_error();
  return reason != nullptr ? reason : "no reason given";
}

Bio memory_bio(std::string_view text) { return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

// Asked for the passphrase of an encrypted key; without it OpenSSL would ask at the terminal.
int no_passphrase(char*, int, int, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

Result<PrivateKey> parse_key(std::string_view pem, const std::string& where) {
  bool encrypted = false;
  PrivateKey key(PEM_read_bio_PrivateKey(memory_bio(pem).get(), nullptr, no_passphrase, &encrypted));
  if (key) return key;
  const std::string reason = openssl_reason();
  if (encrypted) return malformed(where, "a private key without a passphrase", "an encrypted one");
  return malformed(where, "a private key in PEM", reason);
}

// The certificate, and behind it those that lead to a root.
Result<std::vector<Certificate>> parse_certificates(std::string_view pem, const std::string& where) {
  constexpr size_t chain_max = 32;
  const Bio bio = memory_bio(pem);
  std::vector<Certificate> chain;
  while (Certificate next{PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)}) {
    if (chain.size() == chain_max) return malformed(where, fmt::format("at most {} certificates", chain_max), "more");
    chain.push_back(std::move(next));
  }
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  const std::string reason = openssl_reason();
  if (chain.empty() || !at_end) return malformed(where, "certificates in PEM", reason);
  return chain;
}

std::string date_text(const ASN1_TIME* time) {
  std::tm date{};
  if (ASN1_TIME_to_tm(time, &date) != 1) return "?";
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02} UTC", date.tm_year + 1900, date.tm_mon + 1, date.tm_mday,
                     date.tm_hour, date.tm_min);
}

Result<void> check_dates(const X509* certificate, const std::string& where) {
  const ASN1_TIME* begin = X509_get0_notBefore(certificate);
  const ASN1_TIME* end = X509_get0_notAfter(certificate);
  if (X509_cmp_current_time(end) <= 0)
    return fail(ErrorKind::refused, where, fmt::format("the certificate expired on {}", date_text(end)));
  if (X509_cmp_current_time(begin) >= 0)
    return fail(ErrorKind::refused, where, fmt::format("the certificate is not valid before {}", date_text(begin)));
  return {};
}

std::string address_name(const unsigned char* bytes, int count) {
  if (count == 4) {
    asio::ip::address_v4::bytes_type address;
    std::copy_n(bytes, address.size(), address.begin());
    return asio::ip::address_v4(address).to_string();
  }
  if (count != 16) return "";
  asio::ip::address_v6::bytes_type address;
  std::copy_n(bytes, address.size(), address.begin());
  return fmt::format("[{}]", asio::ip::address_v6(address).to_string());
}

std::vector<std::string> host_names(const X509* certificate) {
  std::vector<std::string> names;
  const GeneralNames list(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; i < sk_GENERAL_NAME_num(list.get()); ++i) {
    const GENERAL_NAME* entry = sk_GENERAL_NAME_value(list.get(), i);
    if (entry->type != GEN_DNS && entry->type != GEN_IPADD) continue;
    const ASN1_STRING* value = entry->type == GEN_DNS ? entry->d.dNSName : entry->d.iPAddress;
    const unsigned char* bytes = ASN1_STRING_get0_data(value);
    const int count = ASN1_STRING_length(value);
    std::string name = entry->type == GEN_DNS ? std::string(bytes, bytes + count) : address_name(bytes, count);
    for (char& c : name)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (!name.empty()) names.push_back(std::move(name));
  }
  return names;
}

// HTTP/1.1 is all we speak; who offers something, but not that, is told before a byte of it arrives.
int choose_protocol(SSL*, const unsigned char** chosen, unsigned char* chosen_bytes, const unsigned char* offered,
                    unsigned int offered_bytes, void*) {
  static constexpr std::array<unsigned char, 9> ours = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
  unsigned char* found = nullptr;
  const int result = SSL_select_next_proto(&found, chosen_bytes, ours.data(), ours.size(), offered, offered_bytes);
  *chosen = found;
  return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

class TlsStream final : public ByteStream {
 public:
  TlsStream(HttpSocket socket, ssl::context& context) : stream_(std::move(socket), context) {}

  void open(Done done) override { stream_.async_handshake(ssl::stream_base::server, std::move(done)); }
  void read_some(asio::mutable_buffer into, DoneSome done) override { stream_.async_read_some(into, std::move(done)); }
  void write_all(asio::const_buffer bytes, DoneSome done) override {
    asio::async_write(stream_, bytes, std::move(done));
  }
  void end_output(Done done) override { stream_.async_shutdown(std::move(done)); }
  void close() override {
    boost::system::error_code ignored;
    stream_.lowest_layer().close(ignored);
  }

 private:
  ssl::stream<HttpSocket> stream_;
};

}  // namespace

TlsIdentity::TlsIdentity(std::unique_ptr<Context> context) : context_(std::move(context)) {}
TlsIdentity::~TlsIdentity() = default;

Result<std::shared_ptr<const TlsIdentity>> TlsIdentity::load(const std::string& certificate_file,
                                                             const std::string& key_file) {
  LAPIDARY_TRY(const std::string certificates, read_file(certificate_file, pem_bytes_max));
  LAPIDARY_TRY(const auto chain, parse_certificates(certificates, certificate_file));
  LAPIDARY_TRY(const std::string pem, read_private_file(key_file, pem_bytes_max));
  LAPIDARY_TRY(const PrivateKey key, parse_key(pem, key_file));
  X509* own = chain.front().get();
  if (X509_check_private_key(own, key.get()) != 1) {
    ERR_clear_error();
    return fail(ErrorKind::refused, key_file, fmt::format("is not the key of the certificate in {}", certificate_file));
  }
  LAPIDARY_CHECK(check_dates(own, certificate_file));

  auto identity = std::make_shared<TlsIdentity>(std::make_unique<Context>());
  identity->names_ = host_names(own);
  if (identity->names_.empty())
    return fail(ErrorKind::refused, certificate_file,
                "the certificate names no host or address (subjectAltName), so no client would accept it");
  SSL_CTX* context = identity->context_->context.native_handle();
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_alpn_select_cb(context, choose_protocol, nullptr);
  bool good = SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
              SSL_CTX_set_cipher_list(context, ciphers_tls12) == 1 && SSL_CTX_use_certificate(context, own) == 1 &&
              SSL_CTX_use_PrivateKey(context, key.get()) == 1;
  for (size_t i = 1; i < chain.size(); ++i) good = good && SSL_CTX_add1_chain_cert(context, chain[i].get()) == 1;
  if (!good) return fail(ErrorKind::refused, certificate_file, fmt::format("OpenSSL refuses it: {}", openssl_reason()));
  return identity;
}

std::unique_ptr<ByteStream> TlsIdentity::stream(HttpSocket socket) const {
  return std::make_unique<TlsStream>(std::move(socket), context_->context);
}

}  // namespace lapidary
