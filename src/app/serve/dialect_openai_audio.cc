// POST /v1/audio/transcriptions and /translations
#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "serve/collected.h"
#include "serve/handlers.h"
#include "serve/media.h"
#include "serve/multipart.h"
#include "serve/openai_input.h"
#include "serve/routes.h"
#include "serve/sound_pieces.h"

namespace lapidary {
namespace {

constexpr size_t pieces_at_once = 4;
constexpr int64_t piece_tokens_max = 1024;

struct AudioSettings {
  std::string format = "json", language;
  bool stream = false, translates = false;
  double seconds = 0;
  std::vector<SoundPiece> pieces;
};

// 00:01:02,345
std::string clock_text(double seconds, char point) {
  const int64_t ms = std::llround(seconds * 1000);
  return fmt::format("{:02}:{:02}:{:02}{}{:03}", ms / 3'600'000, ms / 60'000 % 60, ms / 1000 % 60, point, ms % 1000);
}

std::string trimmed(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  return begin == std::string::npos ? "" : text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

class AudioTranslator final : public Translator {
 public:
  explicit AudioTranslator(AudioSettings settings)
      : settings_(std::move(settings)), replies_(settings_.pieces.size()), ended_(replies_.size()) {}

  bool streams() const override { return settings_.stream; }

  void event(size_t choice, GenerateEvent& event, std::string& out) override {
    const bool last = std::holds_alternative<UsageEvent>(event);
    replies_[choice].take(event, "call_");
    if (last) ended_[choice] = true;
    if (!settings_.stream) return;
    // Pieces are computed side by side; their text goes out in order.
    while (current_ < replies_.size()) {
      const std::string& text = replies_[current_].text;
      std::string fresh = text.substr(sent_);
      if (current_ > 0 && sent_ == 0 && !fresh.empty()) fresh.insert(0, " ");
      sent_ = text.size();
      if (!fresh.empty())
        out += fmt::format("data: {{\"type\":\"transcript.text.delta\",\"delta\":{}}}\n\n", json_text(fresh));
      if (!ended_[current_]) return;
      ++current_;
      sent_ = 0;
    }
  }

  void end(std::string& out) override {
    out += fmt::format("data: {}\n\n",
                       dump(OrderedJson{{"type", "transcript.text.done"}, {"text", text()}, {"usage", usage()}}));
  }

  HttpReply whole() override {
    HttpReply reply;
    if (settings_.format == "json") return json_reply({{"text", text()}, {"usage", usage()}});
    if (settings_.format == "verbose_json") return json_reply(verbose());
    reply.content_type = "text/plain; charset=utf-8";
    if (settings_.format == "text") reply.body = text() + "\n";
    if (settings_.format == "srt") reply.body = subtitles(',');
    if (settings_.format == "vtt") {
      reply.content_type = "text/vtt; charset=utf-8";
      reply.body = "WEBVTT\n\n" + subtitles('.');
    }
    return reply;
  }

  HttpReply error(const ApiError& error) override { return shape_error(Dialect::openai, error); }
  void stream_error(const ApiError& error, std::string& out) override {
    out += fmt::format("data: {}\n\n", shape_error(Dialect::openai, error).body);
  }

 private:
  std::string text() const {
    std::string all;
    for (const Collected& reply : replies_) {
      const std::string piece = trimmed(reply.text);
      if (!all.empty() && !piece.empty()) all += ' ';
      all += piece;
    }
    return all;
  }

  OrderedJson usage() const {
    int64_t input = 0, output = 0;
    for (const Collected& reply : replies_) {
      input += reply.usage.prompt_tokens;
      output += reply.usage.reply_tokens;
    }
    return {{"type", "tokens"}, {"input_tokens", input}, {"output_tokens", output}, {"total_tokens", input + output}};
  }

  OrderedJson verbose() const {
    OrderedJson segments = OrderedJson::array();
    for (size_t i = 0; i < replies_.size(); ++i)
      segments.push_back({{"id", i},
                          {"start", settings_.pieces[i].begin_seconds},
                          {"end", settings_.pieces[i].end_seconds},
                          {"text", trimmed(replies_[i].text)},
                          {"tokens", replies_[i].usage.reply_ids}});
    return {{"task", settings_.translates ? "translate" : "transcribe"},
            {"language", settings_.language},
            {"duration", settings_.seconds},
            {"text", text()},
            {"segments", std::move(segments)},
            {"usage", usage()}};
  }

  std::string subtitles(char point) const {
    std::string all;
    for (size_t i = 0; i < replies_.size(); ++i) {
      const SoundPiece& piece = settings_.pieces[i];
      if (point == ',') all += fmt::format("{}\n", i + 1);
      all += fmt::format("{} --> {}\n{}\n\n", clock_text(piece.begin_seconds, point),
                         clock_text(piece.end_seconds, point), trimmed(replies_[i].text));
    }
    return all;
  }

  AudioSettings settings_;
  std::vector<Collected> replies_;
  std::vector<bool> ended_;
  size_t current_ = 0, sent_ = 0;
};

std::string field(const Form& form, std::string_view name) {
  const FormPart* part = form.find(name);
  return part == nullptr ? "" : std::string(part->data);
}

ApiResult<AudioSettings> read_settings(const Form& form, bool translates) {
  AudioSettings settings;
  settings.translates = translates;
  if (const std::string format = field(form, "response_format"); !format.empty()) settings.format = format;
  bool known = false;
  for (const char* name : {"json", "text", "srt", "vtt", "verbose_json"}) known = known || settings.format == name;
  if (!known) return api_fail(400, "response_format: expected json, text, srt, vtt or verbose_json");
  for (const FormPart& part : form.parts)
    if ((part.name == "timestamp_granularities[]" || part.name == "timestamp_granularities") && part.data != "segment")
      return api_fail(
          400, "timestamp_granularities: only segment is available: the model does not say when a word was spoken");
  settings.language = translates ? "english" : field(form, "language");
  if (settings.language.size() > 40) return api_fail(400, "language: expected a language's name or code");
  const std::string stream = field(form, "stream");
  settings.stream = stream == "true" || stream == "1";
  return settings;
}

ApiResult<SamplingWish> read_temperature(const Form& form) {
  SamplingWish wish;
  wish.temperature = 0;  // what was said is no matter of taste
  const std::string text = field(form, "temperature");
  if (text.empty()) return wish;
  double value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end != text.data() + text.size() || !(value >= 0 && value <= 2))
    return api_fail(400, "temperature: expected a number from 0 to 2");
  wish.temperature = value;
  return wish;
}

std::string instruction(const AudioSettings& settings, const std::string& hint) {
  std::string text = "Transcribe the audio.";
  if (settings.translates)
    text = "Transcribe the audio and translate it into English. Write only the translation.";
  else if (!settings.language.empty() && settings.language != "en")
    text = fmt::format("Transcribe the audio. The language is {}.", settings.language);
  if (!hint.empty()) text += " Names and words that may occur: " + hint;
  return text;
}

ApiResult<GenerationPlan> plan_audio(Context& context, const HttpRequest& http, bool translates) {
  LAPIDARY_TRY(const Form form, parse_form(http.header("content-type"), http.body));
  LAPIDARY_TRY(RequestStart start, start_request(context, http, field(form, "model")));
  LAPIDARY_TRY(AudioSettings settings, read_settings(form, translates));
  const FormPart* file = form.find("file");
  if (file == nullptr || file->data.empty()) return api_fail(400, "file: expected a sound, found nothing");
  LAPIDARY_TRY(const Sound sound, decode_sound(std::as_bytes(std::span(file->data)), "file"));
  LAPIDARY_TRY(const SamplingWish wish, read_temperature(form));
  settings.seconds = sound.seconds();
  settings.pieces = cut_at_pauses(sound);
  GenerateRequest& request = start.request;
  request.options.sampler = sampler_of(wish, start.model);
  request.options.tokens_max = piece_tokens_max;
  GenerationPlan plan;
  plan.at_once = pieces_at_once;
  for (const SoundPiece& piece : settings.pieces) {
    Message message;
    message.role = "user";
    MediaPart part{MediaKind::audio, "file", std::make_shared<const std::string>(wav_bytes(sound, piece))};
    message.content = std::vector<ContentPart>{TextPart{instruction(settings, field(form, "prompt"))}, std::move(part)};
    plan.requests.push_back(request);
    plan.requests.back().conversation.messages.push_back(std::move(message));
  }
  plan.translator = std::make_unique<AudioTranslator>(std::move(settings));
  return plan;
}

}  // namespace

void handle_transcriptions(Context& context, const std::shared_ptr<Exchange>& exchange) {
  run_plan(context, exchange, [](Context& c, const HttpRequest& http) { return plan_audio(c, http, false); });
}

void handle_translations(Context& context, const std::shared_ptr<Exchange>& exchange) {
  run_plan(context, exchange, [](Context& c, const HttpRequest& http) { return plan_audio(c, http, true); });
}

}  // namespace lapidary
