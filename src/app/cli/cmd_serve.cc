// serve: the engine behind the APIs that programs already speak.
#include <fmt/format.h>

#include <algorithm>

#include "base/system.h"
#include "cli/commands.h"
#include "cli/open_model.h"
#include "serve/app.h"
#include "serve/keys.h"
#include "service/service.h"

namespace lapidary {
namespace {

// NAME=MODEL, or MODEL.
Result<ModelSource> model_source(const std::string& words, bool alias) {
  ModelSource source;
  const size_t equals = words.find('=');
  if (alias && (equals == std::string::npos || equals == 0 || equals + 1 == words.size()))
    return fail(ErrorKind::wrong_use, "--alias", fmt::format("expected NAME=MODEL, found \"{}\"", words));
  source.name = alias ? words.substr(0, equals) : "";
  LAPIDARY_TRY(source.path, model_path(ModelChoice{alias ? words.substr(equals + 1) : words, ""}));
  return source;
}

Result<ServiceOptions> service_options(const ServeOptions& options) {
  ServiceOptions service;
  for (const std::string& path : options.models) {
    LAPIDARY_TRY(ModelSource source, model_source(path, false));
    service.models.push_back(std::move(source));
  }
  for (const std::string& alias : options.aliases) {
    LAPIDARY_TRY(ModelSource source, model_source(alias, true));
    service.models.push_back(std::move(source));
  }
  if (service.models.empty()) {
    LAPIDARY_TRY(ModelSource source, model_source("", false));
    service.models.push_back(std::move(source));
  }
  service.any_model = options.any_model;
  service.context = options.context;
  service.slots = options.slots;
  service.keep_alive_seconds = options.keep_alive_seconds;
  service.cache_folder = options.cache_folder;
  service.cache_disk_bytes = options.cache_disk_bytes;
  service.threads = options.engine.threads;
  service.kernels = environment("LAPIDARY_KERNELS");
  if (options.engine.kv != KvChoice::automatic)
    service.kv = options.engine.kv == KvChoice::f16 ? KvType::f16 : KvType::f32;
  return service;
}

// What each client reads. It can be pasted into a shell as it is.
std::string block_to_paste(const ServeOptions& options, const std::string& url, const KeyStore& keys,
                           Service& service) {
  std::string names;
  for (const ModelInfo& model : service.models()) names += (names.empty() ? "" : ", ") + model.name;
  const std::vector<Key> all = keys.keys();
  const auto found = std::ranges::find_if(all, [](const Key& key) { return key.scope == Scope::infer; });
  const std::string key = found != all.end() ? found->key : all.empty() ? "" : all.front().key;
  std::string block = fmt::format("# lapidary serves {} at {}\n", names, url);
  if (options.no_key_on_loopback) block += "# any key will do: --no-key-on-loopback\n";
  block += fmt::format(
      "export OPENAI_BASE_URL={0}/v1\n"
      "export OPENAI_API_KEY={1}\n"
      "export ANTHROPIC_BASE_URL={0}\n"
      "export ANTHROPIC_API_KEY={1}\n"
      "export GOOGLE_GEMINI_BASE_URL={0}\n"
      "export GEMINI_API_KEY={1}\n"
      "export OLLAMA_HOST={0}\n"
      "export OLLAMA_API_KEY={1}\n",
      url, key);
  if (!options.socket.empty())
    block += fmt::format("# also: curl --unix-socket {} http://localhost/health\n", options.socket);
  block += fmt::format("# keys: {}\n", keys.path());
  return block;
}

Result<ExitStatus> serve(const ServeOptions& options, Console& console) {
  LAPIDARY_TRY(ServiceOptions wanted, service_options(options));
  wanted.notice = [&console](const std::string& message) { console.remark(message); };
  LAPIDARY_TRY(const auto keys, KeyStore::open(options.key_file.empty() ? KeyStore::default_path() : options.key_file));
  ServeAppOptions app_options;
  if (!options.tls_certificate_file.empty()) {
    LAPIDARY_TRY(app_options.tls, TlsIdentity::load(options.tls_certificate_file, options.tls_key_file));
  }
  LAPIDARY_TRY(const auto service, Service::start(std::move(wanted)));
  app_options.version = LAPIDARY_VERSION;
  app_options.host = options.host;
  app_options.port = options.port;
  app_options.socket = options.socket;
  app_options.origins = options.origins;
  app_options.no_key_on_loopback = options.no_key_on_loopback;
  LAPIDARY_TRY(const auto app, ServeApp::start(app_options, *service, *keys));
  console.print(block_to_paste(options, app->url(), *keys, *service));
  app->run(true);
  return ExitStatus::done;
}

}  // namespace

ExitStatus serve_command(const ServeOptions& options, Console& console) {
  const auto status = serve(options, console);
  return status ? *status : console.fail(status.error());
}

}  // namespace lapidary
