#include "checker/places.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include <unistd.h>

namespace weft::check {
namespace {

bool of_the_system(const std::string& file) {
  return file.empty() || file[0] == '?' || file.rfind("/usr/", 0) == 0 || file.find("/checker/") != std::string::npos;
}

}  // namespace

std::string place::brief() const {
  const std::size_t slash = file.rfind('/');
  return (slash == std::string::npos ? file : file.substr(slash + 1)) + ":" + std::to_string(line);
}

std::map<std::uint32_t, place> places_of(std::vector<std::uint32_t> pcs) {
  std::map<std::uint32_t, place> result;
  std::sort(pcs.begin(), pcs.end());
  pcs.erase(std::unique(pcs.begin(), pcs.end()), pcs.end());
  for (std::size_t from = 0; from < pcs.size(); from += 500) {
    std::string command = "addr2line -a -i -C -f -e /proc/" + std::to_string(::getpid()) + "/exe";
    for (std::size_t i = from; i < std::min(pcs.size(), from + 500); ++i) {
      char hex[16];
      std::snprintf(hex, sizeof hex, " %#x", pcs[i]);
      command += hex;
    }
    FILE* out = ::popen(command.c_str(), "r");
    if (out == nullptr) return result;
    char text[4096];
    std::uint32_t pc = 0;
    std::string function;
    bool have_function = false;
    while (std::fgets(text, sizeof text, out) != nullptr) {
      std::string s(text);
      if (!s.empty() && s.back() == '\n') s.pop_back();
      if (s.rfind("0x", 0) == 0 && s.find(' ') == std::string::npos) {
        pc = static_cast<std::uint32_t>(std::strtoul(s.c_str(), nullptr, 16));
        have_function = false;
      } else if (!have_function) {
        function = s;
        have_function = true;
      } else {
        have_function = false;
        const std::size_t colon = s.rfind(':');
        if (colon == std::string::npos || result.count(pc) != 0) continue;
        place p;
        p.file = s.substr(0, colon);
        p.line = static_cast<std::uint32_t>(std::atoi(s.c_str() + colon + 1));
        p.function = function;
        if (!of_the_system(p.file)) result[pc] = p;
      }
    }
    ::pclose(out);
  }
  return result;
}

std::string source_line(const place& p) {
  std::ifstream in(p.file);
  std::string line;
  for (std::uint32_t i = 0; i < p.line; ++i) {
    if (!std::getline(in, line)) return "";
  }
  const std::size_t from = line.find_first_not_of(" \t");
  return from == std::string::npos ? "" : line.substr(from);
}

}  // namespace weft::check
