// asleep: what the kernel says of a thread that waits for a mutex, a note or a doorbell.
#pragma once
#include <cstdint>
#include <fstream>
#include <string>

// Asleep in the kernel. The thread must have nothing else to wait for.
inline bool sleeps(std::uint64_t thread) {
  std::ifstream stat("/proc/self/task/" + std::to_string(thread) + "/stat");
  std::string text;
  std::getline(stat, text);
  const std::size_t name_end = text.rfind(')');
  return name_end != std::string::npos && text.compare(name_end, 3, ") S") == 0;
}
