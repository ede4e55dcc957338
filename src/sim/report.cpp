#include "sim/report.hpp"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>

#include "observe/symbolize.hpp"
#include "observe/traceback.hpp"

namespace weft::rt::lab {
namespace {

using v0::sim::failure_kind;

constexpr std::size_t max_lanes = 8;
constexpr std::size_t lane_width = 24;

std::string title(const portrait& p) {
  std::string text = "goroutine " + std::to_string(p.actor);
  if (p.actor == 1) {
    text += " (main)";
  } else if (!p.name.empty()) {
    text += " (" + p.name + ")";
  }
  return text;
}

const portrait& of(const result& r, std::uint32_t actor) { return r.goroutines[actor - 1]; }

std::string words(const event& e) {
  std::string text = (e.woken ? "woken: " : "") + describe(e.what, e.object);
  if (e.result == outcome::waits) text += ", waits";
  if (e.result == outcome::refused) text += ", fails";
  return text;
}

// Without the points after an operation at which its goroutine just went on.
std::vector<event> worth_showing(const result& r) {
  std::vector<event> shown;
  for (const event& e : r.events) {
    if (e.what != op::after || e.switched) shown.push_back(e);
  }
  return shown;
}

std::string padded(std::string text, std::size_t width) {
  if (text.size() > width) {
    text.resize(width - 1);
    text += '~';
  }
  text.resize(width, ' ');
  return text;
}

void trim(std::string& line) {
  line.erase(line.find_last_not_of(' ') + 1);
  line += '\n';
}

}  // namespace

std::string headline(const result& r) {
  std::string who = r.actor == 0 ? "" : " in " + title(of(r, r.actor));
  switch (r.kind) {
    case failure_kind::deadlock: return "deadlock: all goroutines are asleep - deadlock!";
    case failure_kind::leak: {
      const auto left =
          std::count_if(r.goroutines.begin(), r.goroutines.end(), [](const portrait& p) { return !p.ended; });
      return "leak: main has returned, and " + std::to_string(left) +
             (left == 1 ? " goroutine that is left can never end" : " goroutines that are left can never end");
    }
    case failure_kind::check: return "check failed" + who + ": " + r.text;
    case failure_kind::exception: return "uncaught exception" + who + ": " + r.text;
    case failure_kind::endless: {
      std::string text = "endless run: no end after " + std::to_string(r.steps - 1) + " steps; still going on:";
      for (const portrait& p : r.goroutines) {
        if (!p.ended && (p.state == "running" || p.state == "runnable")) text += " " + title(p);
      }
      return text;
    }
    case failure_kind::always: return "no longer true" + who + ": " + r.text;
    case failure_kind::eventually: return "not true in time" + who + ": " + r.text;
    case failure_kind::foreign: return "not alone" + who + ": " + r.text;
    case failure_kind::nondeterminism: return "nondeterminism: " + r.text;
  }
  return r.text;
}

std::string lanes(const result& r, std::size_t last) {
  const std::vector<event> events = worth_showing(r);
  const std::size_t from = events.size() > last ? events.size() - last : 0;
  // Those who did something in these steps, in the order of their numbers.
  std::vector<std::uint32_t> columns;
  for (std::size_t i = from; i < events.size(); ++i) columns.push_back(events[i].actor);
  std::sort(columns.begin(), columns.end());
  columns.erase(std::unique(columns.begin(), columns.end()), columns.end());
  const bool too_many = columns.size() > max_lanes;
  std::string text;
  std::string line = "   step  ";
  if (too_many) {
    line += "goroutine";
  } else {
    for (const std::uint32_t actor : columns) line += padded(title(of(r, actor)), lane_width) + ' ';
  }
  trim(line);
  text += line;
  if (from != 0) text += "    ...\n";
  for (std::size_t i = from; i < events.size(); ++i) {
    const event& e = events[i];
    char number[32];
    std::snprintf(number, sizeof number, "%7llu  ", static_cast<unsigned long long>(e.step));
    line = number;
    if (too_many) {
      line += padded(title(of(r, e.actor)), lane_width) + ' ' + words(e);
    } else {
      const auto column =
          static_cast<std::size_t>(std::find(columns.begin(), columns.end(), e.actor) - columns.begin());
      line += std::string(column * (lane_width + 1), ' ') + padded(words(e), lane_width);
    }
    trim(line);
    text += line;
  }
  return text;
}

std::string steps_in_words(const result& r, std::size_t last) {
  const std::vector<event> events = worth_showing(r);
  std::string text;
  for (std::size_t i = events.size() > last ? events.size() - last : 0; i < events.size(); ++i) {
    const event& e = events[i];
    text += "  " + std::to_string(e.step) + ": " + title(of(r, e.actor)) + ": " + words(e) + '\n';
  }
  return text;
}

std::string goroutines(const result& r) {
  std::string text;
  const symbolizer names;
  for (const portrait& p : r.goroutines) {
    if (p.ended) continue;
    text += "  " + title(p) + " [" + p.state;
    if (p.state != "running" && p.state != "runnable") {
      if (p.object != 0) text += " #" + std::to_string(p.object);
      text += ", since step " + std::to_string(p.since);
    } else {
      text += ", at " + describe(p.what, p.object);
    }
    text += ']';
    if (p.holder != 0)
      text += ", which " + title(of(r, p.holder)) + (of(r, p.holder).ended ? ", ended," : "") + " holds";
    text += '\n';
    if (p.parent == 0) continue;
    g record;
    record.gopc = p.gopc;
    record.parent_goid = p.parent;
    std::string by = creator_text(record, find_creator(record, names));
    for (std::size_t at = 0; !by.empty(); at = std::string::npos) {
      while ((at = by.find('\t')) != std::string::npos) by.erase(at, 1);
      const std::size_t end = by.find('\n');
      text += "    " + by.substr(0, end);
      if (end != std::string::npos) {
        std::string place = by.substr(end + 1);
        // The offset in the function tells nobody anything here.
        if (const std::size_t plus = place.find(" +0x"); plus != std::string::npos) place.resize(plus);
        while (!place.empty() && place.back() == '\n') place.pop_back();
        if (!place.empty()) text += ", " + place;
      }
      text += '\n';
      break;
    }
  }
  return text;
}

std::string choices_in_words(const result& r) {
  std::string text;
  for (const choice& c : r.choices) {
    text += "  " + to_string(c) + ": ";
    if (!c.fired.empty()) {
      text += "buggify(\"" + c.fired + "\") fires at its call " + std::to_string(c.chosen) + '\n';
      continue;
    }
    if (c.at.actor != 0) {
      text += title(of(r, c.at.actor));
      if (c.at.what == op::end) {
        text += " has ended";
      } else {
        text += std::string(c.at.waits == 0 ? " is stopped before " : " waits in ") + to_text(c.at.what);
        text += " (the " + std::to_string(c.at.nth) + ". of its own)";
      }
      text += ", and ";
    }
    text += title(of(r, c.chosen)) + " goes on\n";
  }
  return text;
}

std::string command_line() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  const std::string all((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::string text;
  for (std::size_t at = 0; at < all.size();) {
    const std::string word(all.c_str() + at);
    at += word.size() + 1;
    if (!text.empty()) text += ' ';
    const bool plain = !word.empty() && word.find_first_not_of(
                                            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                            "0123456789_./=:,+-") == std::string::npos;
    if (plain) {
      text += word;
      continue;
    }
    text += '\'';
    for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
    text += '\'';
  }
  return text.empty() ? "<program>" : text;
}

}  // namespace weft::rt::lab
