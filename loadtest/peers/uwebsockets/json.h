// What a relay needs of JSON: proof that a text is an object, and the object's `type`. One pass, no tree, nothing allocated.
// Written here, so that building needs no further library; the ones in use for this (simdjson, RapidJSON) would index or copy what
// nobody reads. That the bytes are UTF-8 has been checked by uWebSockets.
#pragma once

#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>

namespace json {

class Scanner {
 public:
  explicit Scanner(std::string_view text) : at(text.data()), end(text.data() + text.size()) {}

  bool document() {
    blank();
    if (at == end || *at != '{' || !value(0)) return false;
    blank();
    return at == end;
  }

  // The object's own `type`, as it is written there, if that is a string.
  std::optional<std::string_view> type;

 private:
  static constexpr int DEEPEST = 128;

  const char *at;
  const char *end;

  bool digit() const { return at != end && *at >= '0' && *at <= '9'; }

  void blank() {
    while (at != end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) ++at;
  }

  bool take(char wanted) {
    if (at == end || *at != wanted) return false;
    ++at;
    return true;
  }

  bool word(std::string_view wanted) {
    if (std::string_view(at, static_cast<size_t>(end - at)).substr(0, wanted.size()) != wanted) return false;
    at += wanted.size();
    return true;
  }

  bool value(int depth) {
    if (at == end) return false;
    std::string_view text;
    switch (*at) {
      case '{': return depth < DEEPEST && object(depth);
      case '[': return depth < DEEPEST && array(depth);
      case '"': return string(text);
      case 't': return word("true");
      case 'f': return word("false");
      case 'n': return word("null");
      default: return number();
    }
  }

  bool object(int depth) {
    ++at;
    blank();
    if (take('}')) return true;
    do {
      blank();
      std::string_view name;
      if (!string(name)) return false;
      blank();
      if (!take(':')) return false;
      blank();
      if (depth == 0 && name == "type" && at != end && *at == '"') {
        std::string_view text;
        if (!string(text)) return false;
        type = text;
      } else if (!value(depth + 1)) {
        return false;
      }
      blank();
    } while (take(','));
    return take('}');
  }

  bool array(int depth) {
    ++at;
    blank();
    if (take(']')) return true;
    do {
      blank();
      if (!value(depth + 1)) return false;
      blank();
    } while (take(','));
    return take(']');
  }

  bool string(std::string_view &text) {
    if (!take('"')) return false;
    const char *begin = at;
    for (; at != end; ++at) {
      const auto byte = static_cast<unsigned char>(*at);
      if (byte == '"') {
        text = {begin, static_cast<size_t>(at - begin)};
        ++at;
        return true;
      }
      if (byte < 0x20 || (byte == '\\' && !escape())) return false;
    }
    return false;
  }

  // Leaves `at` on the last byte of the escape.
  bool escape() {
    ++at;
    if (at == end) return false;
    if (*at != 'u') return std::string_view("\"\\/bfnrt").find(*at) != std::string_view::npos;
    for (int i = 0; i < 4; ++i) {
      ++at;
      if (at == end || std::string_view("0123456789abcdefABCDEF").find(*at) == std::string_view::npos) return false;
    }
    return true;
  }

  bool digits() {
    if (!digit()) return false;
    while (digit()) ++at;
    return true;
  }

  bool number() {
    take('-');
    if (!take('0') && !digits()) return false;
    if (take('.') && !digits()) return false;
    if (take('e') || take('E')) {
      if (!take('+')) take('-');
      return digits();
    }
    return true;
  }
};

// The `type` of an object, with its escapes; nothing if the text is no JSON object or has no such string.
inline std::optional<std::string_view> type_of(std::string_view text) {
  Scanner scanner(text);
  return scanner.document() ? scanner.type : std::nullopt;
}

inline std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out.append({'\\', c});
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(c));
      out += escape;
    } else {
      out += c;
    }
  }
  return out + '"';
}

}  // namespace json
