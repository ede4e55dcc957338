// redis <socket>: hiredis, unmodified. Run by clients_test.cpp, which has started the server.
#include <hiredis/hiredis.h>

#include <memory>
#include <string>
#include <thread>

#include "stalls/clients.hpp"

namespace {

using namespace std::chrono_literals;

struct finish {
  void operator()(redisContext* c) const { ::redisFree(c); }
  void operator()(redisReply* r) const { ::freeReplyObject(r); }
};
using connection = std::unique_ptr<redisContext, finish>;

connection connect(const std::string& where) {
  connection c(::redisConnectUnix(where.c_str()));
  if (c == nullptr || c->err != 0) stalls::client_failed("redisConnectUnix", c != nullptr ? c->errstr : "no memory");
  return c;
}

// The reply as text; of a list the last element.
std::string command(const connection& c, const std::string& text) {
  const std::unique_ptr<redisReply, finish> r(static_cast<redisReply*>(::redisCommand(c.get(), text.c_str())));
  if (r == nullptr) stalls::client_failed(text.c_str(), c->errstr);
  if (r->type == REDIS_REPLY_ERROR) stalls::client_failed(text.c_str(), r->str);
  const redisReply* last = r->type == REDIS_REPLY_ARRAY ? r->element[r->elements - 1] : r.get();
  return last->type == REDIS_REPLY_INTEGER ? std::to_string(last->integer) : std::string(last->str, last->len);
}

}  // namespace

int main(int, char** argv) {
  const std::string where = argv[1] != nullptr ? argv[1] : "";
  // The server is on its way.
  for (int i = 0;; ++i) {
    const connection c(::redisConnectUnix(where.c_str()));
    if (c != nullptr && c->err == 0) break;
    if (i == 1000) stalls::client_failed("redisConnectUnix", "no server");
    std::this_thread::sleep_for(20ms);
  }
  std::atomic<int> asking{0};
  return stalls::beside_tickers("hiredis", [&](int i) {
    const connection c = connect(where);
    if (i == 0) {
      // The others wait in read(2) for what this goroutine sends once it has slept.
      while (asking.load() < stalls::waiting) weft::sleep(1ms);
      weft::sleep(100ms);
      for (int k = 0; k < stalls::waiting; ++k) command(c, "RPUSH list value");
      return;
    }
    if (i <= stalls::waiting) {
      ++asking;
      const std::string got = command(c, "BLPOP list 0");
      if (got != "value") stalls::client_failed("BLPOP", got.c_str());
    }
    const std::string key = "key" + std::to_string(i);
    for (int k = 1; k <= 100; ++k) {
      command(c, "SET " + key + " " + std::to_string(k));
      if (command(c, "GET " + key) != std::to_string(k)) stalls::client_failed("GET", key.c_str());
      command(c, "INCR all");
    }
    if (std::stoi(command(c, "GET all")) < 100) stalls::client_failed("INCR", "fewer than this one's");
  });
}
