// postgres <directory of the socket>: libpq, unmodified. Run by clients_test.cpp, which has started the server.
#include <libpq-fe.h>

#include <memory>
#include <string>
#include <thread>

#include "stalls/clients.hpp"

namespace {

using namespace std::chrono_literals;

struct finish {
  void operator()(PGconn* c) const { ::PQfinish(c); }
  void operator()(PGresult* r) const { ::PQclear(r); }
};
using connection = std::unique_ptr<PGconn, finish>;
using result = std::unique_ptr<PGresult, finish>;

connection connect(const std::string& where) {
  connection c(::PQconnectdb(("host=" + where + " user=postgres dbname=postgres").c_str()));
  if (::PQstatus(c.get()) != CONNECTION_OK) stalls::client_failed("PQconnectdb", ::PQerrorMessage(c.get()));
  return c;
}

std::string query(const connection& c, const std::string& text) {
  const result r(::PQexec(c.get(), text.c_str()));
  if (::PQresultStatus(r.get()) != PGRES_TUPLES_OK) stalls::client_failed(text.c_str(), ::PQerrorMessage(c.get()));
  return ::PQgetvalue(r.get(), 0, 0);
}

}  // namespace

int main(int, char** argv) {
  const std::string where = argv[1] != nullptr ? argv[1] : "";
  // The server is on its way.
  for (int i = 0; ::PQping(("host=" + where + " user=postgres dbname=postgres").c_str()) != PQPING_OK; ++i) {
    if (i == 1000) stalls::client_failed("PQping", "no server");
    std::this_thread::sleep_for(20ms);
  }
  // One has the lock that the waiting ones want, and gives it away only when it has slept as goroutines do: it needs a P then.
  const connection holder = connect(where);
  query(holder, "select pg_advisory_lock(7)");
  std::atomic<int> asking{0};
  return stalls::beside_tickers("libpq", [&](int i) {
    if (i == 0) {
      while (asking.load() < stalls::waiting) weft::sleep(1ms);
      weft::sleep(100ms);
      query(holder, "select pg_advisory_unlock(7)");
      return;
    }
    const connection c = connect(where);
    if (i <= stalls::waiting) {
      ++asking;
      query(c, "select pg_advisory_lock_shared(7)");
    }
    for (int k = 0; k < 5; ++k) {
      query(c, "select pg_sleep(0.02)");
      const std::string sum = query(c, "select sum(n) + " + std::to_string(i) + " from generate_series(1, 1000) n");
      if (sum != std::to_string(500'500 + i)) stalls::client_failed("sum", sum.c_str());
    }
  });
}
