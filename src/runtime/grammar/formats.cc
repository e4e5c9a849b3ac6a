// The values of `format` that are enforced. Where a standard leaves room, the narrow reading counts: what is let
// through has to pass any validator.
#include <array>

#include "grammar/language_builder.h"

namespace lapidary::grammar {
namespace {

struct Format {
  std::string_view name, pattern;
};

// RFC 3339 with the lengths of the months; leap seconds are left out, and 29 February only stands in leap years.
#define YEAR "\\d{4}"
#define LEAP_YEAR "(\\d\\d(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)"
#define DATE                                                                                           \
  "(" YEAR                                                                                             \
  "-((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|(0[469]|11)-(0[1-9]|[12]\\d|30)|02-(0[1-9]|1\\d|2[0-8]))" \
  "|" LEAP_YEAR "-02-29)"
#define TIME "([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,9})?([Zz]|[+-]([01]\\d|2[0-3]):[0-5]\\d)"
#define OCTET "(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"
#define IPV4 "(" OCTET "\\.){3}" OCTET
#define H16 "[0-9A-Fa-f]{1,4}"
#define LS32 "(" H16 ":" H16 "|" IPV4 ")"
#define IPV6                                                                                                          \
  "((" H16 ":){6}" LS32 "|::(" H16 ":){5}" LS32 "|(" H16 ")?::(" H16 ":){4}" LS32 "|((" H16 ":){0,1}" H16 ")?::(" H16 \
  ":){3}" LS32 "|((" H16 ":){0,2}" H16 ")?::(" H16 ":){2}" LS32 "|((" H16 ":){0,3}" H16 ")?::" H16 ":" LS32 "|((" H16 \
  ":){0,4}" H16 ")?::" LS32 "|((" H16 ":){0,5}" H16 ")?::" H16 "|((" H16 ":){0,6}" H16 ")?::)"
#define LABEL "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
#define HOSTNAME LABEL "(\\." LABEL ")*"
#define ATOM "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
#define EMAIL ATOM "(\\." ATOM ")*@" HOSTNAME
#define PCT "%[0-9A-Fa-f]{2}"
#define UNRESERVED_SUB "[A-Za-z0-9._~!$&'()*+,;=-]"
#define PCHAR "(" UNRESERVED_SUB "|[:@]|" PCT ")"
#define AUTHORITY "((" UNRESERVED_SUB "|:|" PCT ")*@)?((" UNRESERVED_SUB "|" PCT ")*|\\[" IPV6 "\\])(:\\d*)?"
#define TAIL "(\\?(" PCHAR "|[/?])*)?(#(" PCHAR "|[/?])*)?"
#define URI                                                                                                \
  "[A-Za-z][A-Za-z0-9+.-]*:(//" AUTHORITY "(/" PCHAR "*)*|/(" PCHAR "+(/" PCHAR "*)*)?|" PCHAR "+(/" PCHAR \
  "*)*|"                                                                                                   \
  ")" TAIL
#define SEGMENT_NO_COLON "(" UNRESERVED_SUB "|@|" PCT ")+"
#define RELATIVE "(//" AUTHORITY "(/" PCHAR "*)*|/(" PCHAR "+(/" PCHAR "*)*)?|" SEGMENT_NO_COLON "(/" PCHAR "*)*|)" TAIL
#define UUID "[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"
#define DURATION_TIME "T(\\d+H(\\d+M(\\d+S)?)?|\\d+M(\\d+S)?|\\d+S)"
#define DURATION "P((\\d+D|\\d+M(\\d+D)?|\\d+Y(\\d+M(\\d+D)?)?)(" DURATION_TIME ")?|" DURATION_TIME "|\\d+W)"
#define POINTER "(/([^~/]|~[01])*)*"

constexpr std::array<Format, 17> formats = {{
    {"date-time", DATE "[Tt]" TIME},
    {"date", DATE},
    {"time", TIME},
    {"duration", DURATION},
    {"email", EMAIL},
    {"idn-email", EMAIL},
    {"hostname", HOSTNAME},
    {"idn-hostname", HOSTNAME},
    {"ipv4", IPV4},
    {"ipv6", IPV6},
    {"uri", URI},
    {"iri", URI},
    {"uri-reference", "(" URI "|" RELATIVE ")"},
    {"iri-reference", "(" URI "|" RELATIVE ")"},
    {"uuid", UUID},
    {"json-pointer", POINTER},
    {"relative-json-pointer", "(0|[1-9]\\d*)(#|" POINTER ")"},
}};

}  // namespace

std::optional<RegexId> format_language(RegexArena& arena, std::string_view name) {
  for (const Format& format : formats) {
    if (format.name != name) continue;
    const auto regex = parse_pattern(arena, format.pattern, PatternUse::whole, "format");
    if (!regex) return std::nullopt;
    // Labels like xn--… are only good if they decode, which is not checked: none of them.
    const auto encoded = parse_pattern(arena, "(^|[@.])[^.]{2}--", PatternUse::search, "format");
    if (!encoded || (name.find("hostname") == std::string_view::npos && name.find("email") == std::string_view::npos))
      return *regex;
    return arena.intersection({*regex, arena.complement(*encoded)});
  }
  return std::nullopt;
}

}  // namespace lapidary::grammar
