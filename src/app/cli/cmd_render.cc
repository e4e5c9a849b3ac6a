// render: a conversation as the model gets it.
#include <filesystem>

#include "base/mapped_file.h"
#include "chat/render.h"
#include "chat/turn.h"
#include "cli/commands.h"
#include "cli/open_model.h"

namespace lapidary {
namespace {

constexpr uint64_t chat_bytes_max = 256 << 20;

struct Rendered {
  std::string text;
  std::vector<int32_t> ids;
};

Result<Prompt> render_file(const std::string& path, const Tokenizer& tokenizer) {
  LAPIDARY_TRY(const std::string json, read_file(path, chat_bytes_max));
  LAPIDARY_TRY(const Conversation conversation, parse_conversation(json, path));
  return render(conversation, chat_format(tokenizer));
}

// Without --expand the tokenizer is enough.
Result<Rendered> render_short(const RenderOptions& options) {
  LAPIDARY_TRY(const std::string path, model_path(options.model));
  LAPIDARY_TRY(const Tokenizer tokenizer, open_tokenizer(path));
  LAPIDARY_TRY(const Prompt prompt, render_file(options.chat_file, tokenizer));
  LAPIDARY_TRY(auto ids, prompt_ids(prompt, tokenizer));
  return Rendered{prompt_text(prompt), std::move(ids)};
}

// The text of expanded ids names every token: a picture is its begin mark, its soft tokens and its end mark.
Result<Rendered> render_expanded(const RenderOptions& options) {
  LAPIDARY_TRY(const auto model, open_model(options.model));
  LAPIDARY_TRY(const Prompt prompt, render_file(options.chat_file, model->tokenizer()));
  LAPIDARY_TRY(auto ids, expand_prompt(prompt, std::filesystem::path(options.chat_file).parent_path().string(),
                                       model->config(), model->tokenizer(), options.image_tokens));
  std::string text = model->tokenizer().decode(ids, SpecialParsing::on);
  return Rendered{std::move(text), std::move(ids)};
}

}  // namespace

ExitStatus render_command(const RenderOptions& options, Console& console) {
  const auto rendered = options.expand ? render_expanded(options) : render_short(options);
  if (!rendered) return console.fail(rendered.error());
  console.print(dump(OrderedJson{{"text", rendered->text}, {"ids", rendered->ids}}) + "\n");
  return ExitStatus::done;
}

}  // namespace lapidary
