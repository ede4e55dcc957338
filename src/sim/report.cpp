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
// A loop of more steps than this is not noticed as one.
constexpr std::size_t max_period = 12;
// So many lines must be saved; a few that repeat are read faster than counted.
constexpr std::size_t worth_folding = 10;

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

std::string ordinal(std::uint32_t n) {
  const char* end = "th";
  if (n / 10 % 10 != 1) {
    if (n % 10 == 1) end = "st";
    if (n % 10 == 2) end = "nd";
    if (n % 10 == 3) end = "rd";
  }
  return std::to_string(n) + end;
}

// The largest unit in which it is a whole number.
std::string duration(std::int64_t ns) {
  constexpr std::pair<std::int64_t, const char*> units[] = {{1'000'000'000, "s"}, {1'000'000, "ms"}, {1000, "us"}};
  for (const auto& [length, name] : units) {
    if (ns != 0 && ns % length == 0) return std::to_string(ns / length) + name;
  }
  return ns == 0 ? "0s" : std::to_string(ns) + "ns";
}

std::string words(const result& r, const event& e, bool in_column) {
  if (e.fired != 0) return "buggify \"" + r.choices[e.fired - 1].fired + "\" fires";
  std::string text = (e.woken ? "woken: " : "") + describe(e.what, e.object, in_column);
  if (e.lasts != 0) text += ' ' + duration(e.lasts);
  if (e.result == outcome::waits) text += ", waits";
  if (e.result == outcome::refused) text += ", fails";
  return text;
}

// A line of a schedule: a step, with how often it was taken in a row; or, without one, that the lines above it came so
// many times more.
struct row {
  const event* e = nullptr;
  std::uint64_t times = 1;
  std::size_t above = 0;
  std::int64_t time = 0;  // at its end
};

bool same_but_later(const event& a, const event& b) {
  return a.fired == 0 && b.fired == 0 && a.actor == b.actor && a.what == b.what && a.object == b.object &&
         a.woken == b.woken && a.result == b.result && a.lasts == b.lasts;
}

// Without the points after an operation at which its goroutine just went on, and with loops folded: an endless run shows
// how it came into its loop.
std::vector<row> rows_of(const result& r) {
  std::vector<const event*> all;
  for (const event& e : r.events) {
    if (before(e.what) == op::none || e.switched) all.push_back(&e);
  }
  std::vector<row> rows;
  for (std::size_t i = 0; i < all.size();) {
    std::size_t period = 0, covered = 0;
    for (std::size_t p = 1; p <= max_period; ++p) {
      std::size_t end = i + p;
      while (end < all.size() && same_but_later(*all[end - p], *all[end])) ++end;
      const std::size_t whole = (end - i) / p * p;
      if (whole - p >= (p == 1 ? 2 : worth_folding) && whole > covered) {
        covered = whole;
        period = p;
      }
    }
    if (period == 0) {
      rows.push_back({all[i], 1, 0, all[i]->time});
      ++i;
      continue;
    }
    const std::int64_t time = all[i + covered - 1]->time;
    if (period == 1) {
      rows.push_back({all[i], covered, 0, time});
    } else {
      for (std::size_t k = 0; k < period; ++k) rows.push_back({all[i + k], 1, 0, all[i + k]->time});
      rows.push_back({nullptr, covered / period - 1, period, time});
    }
    i += covered;
  }
  return rows;
}

std::string words(const result& r, const row& line, bool in_column) {
  if (line.e == nullptr) {
    return "(the " + std::to_string(line.above) + " lines above, " + std::to_string(line.times) + " times more)";
  }
  std::string text = words(r, *line.e, in_column);
  if (line.times > 1) text += ", " + std::to_string(line.times) + " times";
  return text;
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

// Goroutines each of which waits for a mutex that the next one holds; empty: there is no such circle.
std::vector<std::uint32_t> circle(const result& r) {
  for (const portrait& from : r.goroutines) {
    std::vector<std::uint32_t> way;
    for (std::uint32_t at = from.actor; at != 0; at = of(r, at).holder) {
      if (const auto met = std::find(way.begin(), way.end(), at); met != way.end()) return {met, way.end()};
      way.push_back(at);
    }
  }
  return {};
}

std::string deadlock(const result& r) {
  if (!r.text.empty()) return r.text;
  std::string text = "all goroutines are asleep - deadlock!";
  const std::vector<std::uint32_t> members = circle(r);
  if (members.empty()) return text;
  if (members.size() == 1) return text + ' ' + title(of(r, members[0])) + " waits for a mutex that it holds itself";
  text += ' ' + title(of(r, members[0]));
  for (std::size_t i = 1; i < members.size(); ++i) {
    text += (i + 1 == members.size() ? " and " : ", ") + title(of(r, members[i]));
  }
  return text + " wait for mutexes of each other";
}

// Where a goroutine is that can go on.
std::string position(const portrait& p) {
  if (p.woken) return "woken from " + describe(p.what, p.object);
  if (p.what == op::start) return p.at_point ? "not started" : "started";
  if (p.what == op::back) return "after blocking";
  if (before(p.what) != op::none) return "after " + describe(before(p.what), p.object);
  if (p.what == op::poll) return "in sim::eventually";
  return (p.at_point ? "before " : "after ") + describe(p.what, p.object);
}

// Function and place of a creator or a frame, in one line.
std::string one_line(std::string text) {
  std::erase(text, '\t');
  while (!text.empty() && text.back() == '\n') text.pop_back();
  if (const std::size_t end = text.find('\n'); end != std::string::npos) {
    text.replace(end, 1, ", ");
    // The offset in the function tells nobody anything here.
    if (const std::size_t plus = text.find(" +0x", end); plus != std::string::npos) text.resize(plus);
  }
  return text;
}

}  // namespace

std::string headline(const result& r) {
  std::string who = r.actor == 0 ? "" : " in " + title(of(r, r.actor));
  switch (r.kind) {
    case failure_kind::deadlock: return deadlock(r);
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
  const std::vector<row> rows = rows_of(r);
  const std::size_t from = rows.size() > last ? rows.size() - last : 0;
  // Those who did something in these steps, in the order of their numbers.
  std::vector<std::uint32_t> columns;
  for (std::size_t i = from; i < rows.size(); ++i) {
    if (rows[i].e != nullptr) columns.push_back(rows[i].e->actor);
  }
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
  std::int64_t time = 0;
  for (std::size_t i = from; i < rows.size(); ++i) {
    if (rows[i].e == nullptr) {
      text += "         " + words(r, rows[i], true) + '\n';
      time = rows[i].time;
      continue;
    }
    const event& e = *rows[i].e;
    if (e.time != time) text += "         (time is " + duration(e.time) + ")\n";
    time = rows[i].time;
    char number[32];
    std::snprintf(number, sizeof number, "%7llu  ", static_cast<unsigned long long>(e.step));
    line = number;
    if (too_many) {
      line += padded(title(of(r, e.actor)), lane_width) + ' ' + words(r, rows[i], true);
    } else {
      const auto column =
          static_cast<std::size_t>(std::find(columns.begin(), columns.end(), e.actor) - columns.begin());
      line += std::string(column * (lane_width + 1), ' ');
      const std::string what = words(r, rows[i], true);
      // Nothing is to the right of it.
      line += column + 1 == columns.size() ? what : padded(what, lane_width);
    }
    trim(line);
    text += line;
  }
  return text;
}

std::string steps_in_words(const result& r, std::size_t last) {
  const std::vector<row> rows = rows_of(r);
  std::string text;
  const std::size_t from = rows.size() > last ? rows.size() - last : 0;
  std::int64_t time = from == 0 ? 0 : rows[from - 1].time;
  for (std::size_t i = from; i < rows.size(); ++i) {
    if (rows[i].e != nullptr) {
      const event& e = *rows[i].e;
      if (e.time != time) text += "  (time is " + duration(e.time) + ")\n";
      text += "  " + std::to_string(e.step) + ": " + title(of(r, e.actor)) + ": ";
    } else {
      text += "  ";
    }
    text += words(r, rows[i], false) + '\n';
    time = rows[i].time;
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
      text += ", " + position(p);
    }
    text += ']';
    if (p.holder == p.actor) {
      text += ", which it holds itself";
    } else if (p.holder != 0) {
      text += ", which " + title(of(r, p.holder)) + (of(r, p.holder).ended ? ", ended," : "") + " holds";
    }
    text += '\n';
    if (!p.at.function.empty()) text += "    in " + one_line(p.at.function + '\n' + p.at.place) + '\n';
    if (p.parent == 0) continue;
    g record;
    record.gopc = p.gopc;
    record.parent_goid = p.parent;
    if (const std::string by = one_line(creator_text(record, find_creator(record, names))); !by.empty()) {
      text += "    " + by + '\n';
    }
  }
  return text;
}

// Where a goroutine was when another went on: "is stopped before mutex lock #2 (its 4th lock)".
std::string place_in_words(const place& at, std::uint32_t object) {
  if (at.what == op::start) return "has not started";
  if (at.what == op::end) return "has ended";
  const op after_this = before(at.what);
  std::string text;
  if (at.waits != 0) {
    text = "waits in " + describe(at.what, object);
  } else if (at.what == op::back) {
    return "is stopped after blocking (its " + ordinal(at.nth) + ')';
  } else if (after_this != op::none) {
    text = "is stopped after " + describe(after_this, object);
  } else if (at.what == op::yield || at.what == op::point) {
    text = "is stopped at " + describe(at.what, object);
  } else {
    text = "is stopped before " + describe(at.what, object);
  }
  text += " (its " + ordinal(at.nth);
  if (at.waits > 1) text += ", for the " + ordinal(at.waits) + " time";
  return text + ')';
}

std::string choices_in_words(const result& r) {
  std::string text;
  for (const choice& c : r.choices) {
    text += "  " + to_string(c) + ": ";
    if (!c.fired.empty()) {
      text += "buggify(\"" + c.fired + "\") fires at its " + ordinal(c.chosen) + " call\n";
      continue;
    }
    if (c.at.what == op::due) {
      text += "of the timers that are due (asked for the " + ordinal(c.at.nth) + " time), the " + ordinal(c.chosen) +
              " is fired first, or, if there are fewer, somebody goes on before\n";
      continue;
    }
    if (c.at.waits == which_case) {
      text += title(of(r, c.at.actor)) + " takes, in " + describe(c.at.what, c.object) + " (its " + ordinal(c.at.nth) +
              "), the " + ordinal(c.chosen) + " of the cases that are ready\n";
      continue;
    }
    if (c.at.actor != 0) text += title(of(r, c.at.actor)) + ' ' + place_in_words(c.at, c.object) + ", and ";
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
