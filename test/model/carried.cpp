// In a model nobody carries anything: in place of src/context/current.cpp, whose thread-local storage all threads of a model
// would share. Goroutines under a context are in scope_model.cpp.
#include "context/carried.hpp"

#include "checker/machine.hpp"
#include "weft/context.hpp"

namespace weft::rt {

g_extras* carried() noexcept { return nullptr; }
g_extras* carry() { check::fail("the model asks for what its thread carries"); }

}  // namespace weft::rt

namespace weft {
inline namespace v0 {
namespace detail {

context_node* context_current() noexcept { return nullptr; }
with_scope::with_scope(context_node*) : carried_(nullptr), outer_(nullptr), outer_obeys_(nullptr) {}
with_scope::~with_scope() {
  static_cast<void>(carried_);
  static_cast<void>(outer_);
  static_cast<void>(outer_obeys_);
}

}  // namespace detail
}  // namespace v0
}  // namespace weft
