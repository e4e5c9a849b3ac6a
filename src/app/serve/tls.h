// TLS for connections from other machines: who this server is, and a stream that speaks as it. OpenSSL's headers stay
// in tls.cc.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "serve/byte_stream.h"

namespace lapidary {

// A certificate with its chain, and its private key. Immutable; connections share it.
class TlsIdentity {
 public:
  // Two PEM files: the certificate first and then those that lead to a root, if any; and the key, unencrypted, in a
  // file that only its owner may read (base/secret.h). Refused: what cannot be read, a key of another certificate, a
  // certificate that is not valid today, one that names no host (RFC 9525: clients look at subjectAltName alone).
  static Result<std::shared_ptr<const TlsIdentity>> load(const std::string& certificate_file,
                                                         const std::string& key_file);

  // What the certificate is for, as it stands in a URL: "lapidary.example", "*.example", "192.0.2.1", "[2001:db8::1]".
  const std::vector<std::string>& names() const { return names_; }

  // TLS 1.2 with forward secrecy or 1.3, HTTP/1.1 by ALPN, no renegotiation. open() is the handshake; it has no time
  // limit of its own. A connection that ends without TLS's own end is an error other than eof.
  std::unique_ptr<ByteStream> stream(HttpSocket socket) const;

  struct Context;
  explicit TlsIdentity(std::unique_ptr<Context> context);
  ~TlsIdentity();

 private:
  std::unique_ptr<Context> context_;
  std::vector<std::string> names_;
};

}  // namespace lapidary
