// The signatures of channels and selects, to the letter: what a program may rely on to compile, and what it may not. Calls
// that must not compile and cannot be asked for here are in test/compile_fail.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <ranges>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "weft/weft.hpp"

namespace {

using weft::chan;
using weft::chan_status;
using weft::recv_chan;
using weft::select_case;
using weft::send_chan;

template <class A, class B>
inline constexpr bool same = std::is_same_v<A, B>;

// ---- directions (Go: perm): who may do what

template <class C, class V>
concept can_send = requires(const C c, V v) {
  c.send(static_cast<V&&>(v));
};
template <class C, class V>
concept can_try_send = requires(const C c, V v) {
  c.try_send(static_cast<V&&>(v));
};
template <class C>
concept can_recv = requires(const C c) {
  c.recv();
};
template <class C, class D>
concept can_try_recv = requires(const C c, D d) {
  c.try_recv(d);
};
template <class C>
concept can_close = requires(const C c) {
  c.close();
};
template <class C>
concept can_iterate = requires(const C c) {
  c.begin();
  c.end();
};
template <class C, class V>
concept can_be_sent_to = requires(const C c, V v) {
  weft::send(c, static_cast<V&&>(v));
};
template <class C>
concept can_be_received_from = requires(const C c) {
  weft::recv(c);
};
template <class C, class V>
concept has_on_send = requires(const C c, V v) {
  c.on_send(static_cast<V&&>(v));
};
template <class C>
concept has_on_recv = requires(const C c) {
  c.on_recv();
};

template <class C>
inline constexpr bool only_sends =
    can_send<C, int>&& can_try_send<C, int>&& can_close<C>&& has_on_send<C, int>&& can_be_sent_to<C, int> &&
    !can_recv<C> && !can_try_recv<C, int&> && !can_iterate<C> && !has_on_recv<C> && !can_be_received_from<C>;
template <class C>
inline constexpr bool only_receives =
    !can_send<C, int> && !can_try_send<C, int> && !can_close<C> && !has_on_send<C, int> && !can_be_sent_to<C, int> &&
    can_recv<C> && can_try_recv<C, int&> && can_try_recv<C, std::optional<int>&> && can_iterate<C> && has_on_recv<C> &&
    can_be_received_from<C>;
static_assert(only_sends<send_chan<int>> && !only_receives<send_chan<int>>);
static_assert(only_receives<recv_chan<int>> && !only_sends<recv_chan<int>>);
static_assert(can_send<chan<int>, int> && can_recv<chan<int>> && can_close<chan<int>> && can_iterate<chan<int>> &&
              can_be_sent_to<chan<int>, int> && can_be_received_from<chan<int>>);
static_assert(weft::sendable<chan<int>> && weft::receivable<chan<int>>);
static_assert(weft::sendable<send_chan<>> && !weft::receivable<send_chan<>>);
static_assert(!weft::sendable<recv_chan<>> && weft::receivable<recv_chan<>>);
static_assert(!weft::sendable<int> && !weft::receivable<int> && !weft::sendable<std::string>);
static_assert(same<weft::elem_t<chan<int>>, int> && same<weft::elem_t<send_chan<int>>, int> &&
              same<weft::elem_t<recv_chan<>>, void>);

// A value that cannot be converted cannot be sent; a converted one is a temporary.
static_assert(can_send<chan<int>, short> && can_send<chan<std::string>, const char*>);
static_assert(!can_send<chan<int>, const char*> && !can_send<chan<std::string>, std::vector<int>>);
using owner = std::unique_ptr<int>;
static_assert(can_send<chan<owner>, owner> && !can_send<chan<owner>, owner&> && !can_send<chan<owner>, const owner&>);
static_assert(can_try_send<chan<owner>, owner> && !can_try_send<chan<owner>, owner&>);
static_assert(has_on_send<chan<owner>, owner> && !has_on_send<chan<owner>, owner&>);
static_assert(can_be_sent_to<chan<owner>, owner> && !can_be_sent_to<chan<owner>, owner&>);
static_assert(!can_try_recv<chan<int>, const int&> && !can_try_recv<chan<int>, std::optional<long>&>);

// Signals have no value.
template <class C>
concept sends_signals = requires(const C c) {
  c.send();
  c.try_send();
  c.on_send();
  weft::send(c);
};
static_assert(sends_signals<chan<>> && sends_signals<send_chan<>> && !sends_signals<chan<int>>);
static_assert(!sends_signals<recv_chan<>> && !can_send<chan<>, int> && !can_iterate<chan<>>);
static_assert(same<chan<>, chan<void>> && same<send_chan<>, send_chan<void>> && same<recv_chan<>, recv_chan<void>>);

// ---- conversions: a channel is either of its ends; an end is nothing else

template <class From, class To>
inline constexpr bool converts = std::is_convertible_v<From, To>;
static_assert(converts<chan<int>, send_chan<int>> && converts<const chan<int>&, send_chan<int>>);
static_assert(converts<chan<int>, recv_chan<int>> && converts<const chan<int>&, recv_chan<int>>);
static_assert(!std::is_constructible_v<chan<int>, send_chan<int>> &&
              !std::is_constructible_v<chan<int>, recv_chan<int>>);
static_assert(!std::is_constructible_v<send_chan<int>, recv_chan<int>>);
static_assert(!std::is_constructible_v<recv_chan<int>, send_chan<int>>);
static_assert(!std::is_constructible_v<send_chan<long>, chan<int>> && !std::is_constructible_v<chan<long>, chan<int>>);
static_assert(!std::is_constructible_v<send_chan<int>, int> && !std::is_constructible_v<recv_chan<int>, int>);
static_assert(std::is_nothrow_constructible_v<send_chan<int>, const chan<int>&>);
static_assert(std::is_nothrow_constructible_v<send_chan<int>, chan<int>>);
static_assert(std::is_nothrow_constructible_v<recv_chan<int>, const chan<int>&>);
static_assert(std::is_nothrow_constructible_v<recv_chan<int>, chan<int>>);
// A capacity is said in so many words, and is a whole number.
static_assert(std::is_constructible_v<chan<int>, int> && std::is_constructible_v<chan<int>, std::size_t>);
static_assert(!converts<int, chan<int>> && !std::is_constructible_v<chan<int>, double>);
static_assert(!std::is_nothrow_constructible_v<chan<int>, int> && !std::is_nothrow_default_constructible_v<chan<int>>);
// Nil.
static_assert(converts<std::nullptr_t, chan<int>> && std::is_nothrow_constructible_v<chan<int>, std::nullptr_t>);
static_assert(converts<std::nullptr_t, send_chan<int>> && std::is_nothrow_default_constructible_v<send_chan<int>>);
static_assert(converts<std::nullptr_t, recv_chan<>> && std::is_nothrow_default_constructible_v<recv_chan<>>);
constinit send_chan<int> nil_before_main;
constinit recv_chan<int> nil_too = nullptr;
constinit chan<int> nil_chan = nullptr;

// ---- handles: copied and moved without a throw, compared, tested

template <class C>
inline constexpr bool is_handle =
    std::is_nothrow_copy_constructible_v<C>&& std::is_nothrow_move_constructible_v<C>&&
        std::is_nothrow_copy_assignable_v<C>&& std::is_nothrow_move_assignable_v<C>&& std::is_nothrow_swappable_v<C>&&
            std::equality_comparable<C>&& std::equality_comparable_with<C, C> &&
    sizeof(C) == sizeof(void*) && !converts<C, bool> && std::is_nothrow_constructible_v<bool, const C&>;
static_assert(is_handle<chan<int>> && is_handle<send_chan<int>> && is_handle<recv_chan<int>>);
static_assert(is_handle<chan<>> && is_handle<send_chan<>> && is_handle<recv_chan<>> && is_handle<chan<owner>>);
static_assert(noexcept(std::declval<const chan<int>&>() == nullptr));
static_assert(same<decltype(std::declval<const chan<int>&>() == std::declval<const send_chan<int>&>()), bool>);
static_assert(same<chan<int>::value_type, int> && same<send_chan<>::value_type, void> &&
              same<recv_chan<int>::value_type, int>);

// ---- return types and noexcept of each member; all are const

template <class C>
constexpr bool members_of_a_sender() {
  using P = const C&;
  static_assert(same<decltype(std::declval<P>().send(std::declval<const int&>())), void>);
  static_assert(same<decltype(std::declval<P>().send(1)), void>);
  static_assert(same<decltype(std::declval<P>().try_send(std::declval<const int&>())), chan_status>);
  static_assert(same<decltype(std::declval<P>().try_send(1)), chan_status>);
  static_assert(same<decltype(std::declval<P>().close()), void>);
  static_assert(same<decltype(std::declval<P>().on_send(1)), select_case>);
  static_assert(same<decltype(std::declval<P>().on_send(std::declval<const int&>())), select_case>);
  static_assert(!noexcept(std::declval<P>().send(1)) && !noexcept(std::declval<P>().close()));
  return true;
}
template <class C>
constexpr bool members_of_a_receiver() {
  using P = const C&;
  static_assert(same<decltype(std::declval<P>().recv()), std::optional<int>>);
  static_assert(same<decltype(std::declval<P>().try_recv(std::declval<int&>())), chan_status>);
  static_assert(same<decltype(std::declval<P>().try_recv(std::declval<std::optional<int>&>())), chan_status>);
  static_assert(same<decltype(std::declval<P>().on_recv()), select_case>);
  static_assert(same<decltype(std::declval<P>().on_recv(std::declval<std::optional<int>&>())), select_case>);
  static_assert(same<decltype(*std::declval<P>().begin()), int&>);
  static_assert(std::input_iterator<decltype(std::declval<P>().begin())>);
  static_assert(std::sentinel_for<decltype(std::declval<P>().end()), decltype(std::declval<P>().begin())>);
  static_assert(std::ranges::input_range<P>);
  return true;
}
template <class C>
constexpr bool members_of_all() {
  static_assert(same<decltype(std::declval<const C&>().size()), std::size_t>);
  static_assert(same<decltype(std::declval<const C&>().capacity()), std::size_t>);
  static_assert(noexcept(std::declval<const C&>().size())&& noexcept(std::declval<const C&>().capacity()));
  return true;
}
static_assert(members_of_a_sender<chan<int>>() && members_of_a_sender<send_chan<int>>());
static_assert(members_of_a_receiver<chan<int>>() && members_of_a_receiver<recv_chan<int>>());
static_assert(members_of_all<chan<int>>() && members_of_all<send_chan<int>>() && members_of_all<recv_chan<>>());

template <class C>
constexpr bool members_of_a_signal_sender() {
  using P = const C&;
  static_assert(same<decltype(std::declval<P>().send()), void> &&
                same<decltype(std::declval<P>().try_send()), chan_status>);
  static_assert(same<decltype(std::declval<P>().close()), void> &&
                same<decltype(std::declval<P>().on_send()), select_case>);
  return true;
}
template <class C>
constexpr bool members_of_a_signal_receiver() {
  using P = const C&;
  static_assert(same<decltype(std::declval<P>().recv()), bool> &&
                same<decltype(std::declval<P>().try_recv()), chan_status>);
  static_assert(same<decltype(std::declval<P>().on_recv()), select_case>);
  static_assert(same<decltype(std::declval<P>().on_recv(std::declval<bool&>())), select_case>);
  return true;
}
static_assert(members_of_a_signal_sender<chan<>>() && members_of_a_signal_sender<send_chan<>>());
static_assert(members_of_a_signal_receiver<chan<>>() && members_of_a_signal_receiver<recv_chan<>>());

// ---- cases

static_assert(std::is_trivially_copyable_v<select_case> && std::is_trivially_destructible_v<select_case> &&
              std::is_default_constructible_v<select_case>);

template <class C>
constexpr bool factories_for_a_receiver() {
  using P = const C&;
  static_assert(same<decltype(weft::recv(std::declval<P>(), std::declval<std::optional<int>&>())), select_case>);
  static_assert(same<decltype(weft::recv(std::declval<P>())), select_case>);
  static_assert(!same<decltype(weft::recv(std::declval<P>(), [](std::optional<int>) {})), select_case>);
  return true;
}
template <class C>
constexpr bool factories_for_a_sender() {
  using P = const C&;
  static_assert(same<decltype(weft::send(std::declval<P>(), 1)), select_case>);
  static_assert(same<decltype(weft::send(std::declval<P>(), std::declval<const int&>())), select_case>);
  static_assert(!same<decltype(weft::send(std::declval<P>(), 1, [] {})), select_case>);
  return true;
}
static_assert(factories_for_a_receiver<chan<int>>() && factories_for_a_receiver<recv_chan<int>>());
static_assert(factories_for_a_sender<chan<int>>() && factories_for_a_sender<send_chan<int>>());
static_assert(same<decltype(weft::send(std::declval<const chan<>&>())), select_case>);
static_assert(same<decltype(weft::recv(std::declval<const chan<>&>())), select_case>);
static_assert(same<decltype(weft::recv(std::declval<const chan<>&>(), std::declval<bool&>())), select_case>);

template <class C, class... A>
concept has_recv_case = requires(const C& c, A... a) {
  weft::recv(c, static_cast<A&&>(a)...);
};
template <class C, class... A>
concept has_send_case = requires(const C& c, A... a) {
  weft::send(c, static_cast<A&&>(a)...);
};
using takes_int = void (*)(std::optional<int>);
using takes_text = void (*)(std::optional<std::string>);
using takes_flag = void (*)(bool);
using takes_nothing = void (*)();
static_assert(has_recv_case<chan<int>, takes_int> && !has_recv_case<chan<int>, takes_text>);
static_assert(!has_recv_case<chan<int>, takes_nothing> && !has_recv_case<chan<int>, int&> &&
              !has_recv_case<chan<int>, std::optional<long>&>);
static_assert(has_recv_case<chan<>, takes_flag> && has_recv_case<chan<>, takes_nothing> &&
              !has_recv_case<chan<>, takes_text>);
static_assert(has_send_case<chan<int>, int, takes_nothing> && !has_send_case<chan<int>, int, takes_int>);
static_assert(has_send_case<chan<>, takes_nothing> && !has_send_case<chan<>, int>);
static_assert(!has_recv_case<int> && !has_recv_case<std::vector<int>> && !has_send_case<std::string, char>);

// ---- select

using case_list = std::span<const select_case>;
static_assert(same<decltype(weft::select(select_case())), std::size_t>);
static_assert(same<decltype(weft::select()), std::size_t>);
static_assert(same<decltype(weft::select(case_list())), std::size_t>);
static_assert(same<decltype(weft::try_select(select_case())), std::optional<std::size_t>>);
static_assert(same<decltype(weft::try_select(case_list())), std::optional<std::size_t>>);
static_assert(same<decltype(weft::select(std::span(std::declval<std::vector<select_case>&>()))), std::size_t>);
static_assert(
    same<decltype(weft::select(weft::recv(std::declval<const chan<int>&>(), [](std::optional<int>) {}), select_case())),
         std::size_t>);

template <class... A>
concept can_select = requires(A... a) {
  weft::select(static_cast<A&&>(a)...);
};
static_assert(can_select<select_case, select_case&, const select_case&>);
static_assert(!can_select<int> && !can_select<chan<int>> && !can_select<select_case, int> &&
              !can_select<std::nullptr_t>);

static_assert(static_cast<int>(chan_status::ok) == 0 && sizeof(chan_status) == 1);

// ---- errors

static_assert(std::is_base_of_v<weft::error, weft::send_on_closed_channel>);
static_assert(std::is_base_of_v<weft::error, weft::close_of_closed_channel>);
static_assert(std::is_base_of_v<weft::error, weft::close_of_nil_channel>);
static_assert(std::is_base_of_v<std::logic_error, weft::error>);

TEST(chan_api, nil_is_a_constant) {
  EXPECT_FALSE(nil_before_main);
  EXPECT_TRUE(nil_too == nullptr);
  EXPECT_EQ(nil_chan.try_send(1), chan_status::would_block);
}

TEST(chan_api, handles_of_one_channel_compare_equal_whatever_their_direction) {
  chan<int> a, b;
  const send_chan<int> in = a;
  const recv_chan<int> out = a;
  EXPECT_TRUE(a == in);
  EXPECT_TRUE(in == out);
  EXPECT_TRUE(b != in);
  std::swap(a, b);
  EXPECT_TRUE(b == in);
  a = b;
  EXPECT_TRUE(a == out);
  chan<int>& self = a;
  a = self;
  EXPECT_TRUE(a == out);
}

// What the operating system calls so means the system's, also where everything of weft is at hand.
namespace posix {
using namespace weft;

TEST(chan_api, posix_names_mean_the_systems) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  const char word[] = "word";
  char got[8] = {};
  EXPECT_EQ(send(ends[0], word, sizeof word, 0), static_cast<ssize_t>(sizeof word));
  fd_set readable;
  FD_ZERO(&readable);
  FD_SET(ends[1], &readable);
  timeval now{0, 0};
  EXPECT_EQ(select(ends[1] + 1, &readable, nullptr, nullptr, &now), 1);
  EXPECT_EQ(recv(ends[1], got, sizeof got, 0), static_cast<ssize_t>(sizeof word));
  EXPECT_STREQ(got, word);
  EXPECT_EQ(close(ends[0]), 0);
  EXPECT_EQ(::close(ends[1]), 0);
  // And with channels they are weft's, in the same scope.
  const chan<int> c(1);
  std::optional<int> v;
  EXPECT_EQ(select(send(c, 5), recv(c, v)), 0u);
  EXPECT_EQ(select(recv(c, v)), 0u);
  EXPECT_EQ(v, 5);
}

// The address of each has one meaning where a type is asked for.
TEST(chan_api, addresses_of_posix_functions_can_be_taken) {
  ssize_t (*sends)(int, const void*, size_t, int) = &::send;
  ssize_t (*receives)(int, void*, size_t, int) = &::recv;
  EXPECT_EQ(sends(-1, nullptr, 0, 0), -1);
  EXPECT_EQ(receives(-1, nullptr, 0, 0), -1);
}

}  // namespace posix

// For code in which a member named recv or send hides the factories.
struct session {
  chan<int> in{1}, out{1};
  void recv() {}
  void send() {}
  std::size_t step(std::optional<int>& v) const { return weft::select(in.on_recv(v), out.on_send(7)); }
};

TEST(chan_api, members_make_the_same_cases) {
  const session s;
  std::optional<int> v;
  EXPECT_EQ(s.step(v), 1u);
  s.in.send(3);
  EXPECT_EQ(s.step(v), 0u);
  EXPECT_EQ(v, 3);
  EXPECT_EQ(s.out.recv(), 7);
}

TEST(chan_api, a_channel_is_a_range_for_algorithms_too) {
  const chan<int> c(5);
  for (int i = 1; i <= 5; ++i) c.send(i);
  c.close();
  int sum = 0;
  std::ranges::for_each(c, [&](int v) { sum += v; });
  EXPECT_EQ(sum, 15);
}

// The loop's variable is the value itself: it may be moved from.
TEST(chan_api, a_loop_may_move_out_of_what_it_gets) {
  const chan<owner> c(2);
  c.send(std::make_unique<int>(1));
  c.send(std::make_unique<int>(2));
  c.close();
  std::vector<owner> all;
  for (owner& o : c) all.push_back(std::move(o));
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(*all[0] + *all[1], 3);
}

}  // namespace
