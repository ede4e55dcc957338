// wrong: the case of a stop token in a list of cases: it is more than a record
// says: conversion|cannot convert|no viable
#include <weft/select.hpp>

#ifdef WRONG
std::size_t use(const std::stop_token& token, const weft::chan<>& done) {
  const weft::select_case cases[] = {weft::on(token), weft::on(done)};
  return weft::select(std::span(cases));
}
#else
std::size_t use(const std::stop_token& token, const weft::chan<>& done) {
  return weft::select(weft::on(token), weft::on(done));
}
#endif
