// Whether this build runs under a sanitizer, several times slower: the longest tests then take a sample of what they
// take otherwise. What a sanitizer looks for does not differ from item to item.
#pragma once

namespace lapidary {

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define LAPIDARY_SANITIZED
#endif
#endif
#if defined(LAPIDARY_SANITIZED) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif

}  // namespace lapidary
