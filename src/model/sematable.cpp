#include "model/sematable.hpp"

#include "base/check.hpp"

namespace weft::rt {
namespace {

std::uintptr_t key(const void* addr) { return reinterpret_cast<std::uintptr_t>(addr); }

}  // namespace

sudog* sema_bucket::find(const void* addr, sudog** parent) const {
  sudog* at = root_;
  *parent = nullptr;
  while (at != nullptr && at->addr != addr) {
    *parent = at;
    at = key(addr) < key(at->addr) ? at->left : at->right;
  }
  return at;
}

void sema_bucket::not_queued() { fatal("sematable: sudog is not queued"); }

sudog* sema_bucket::front_slow(const void* addr) const {
  sudog* parent;
  return find(addr, &parent);
}

void sema_bucket::push_back_slow(sudog* sg, std::uint32_t ticket) {
  mark_queued(sg);
  sg->next = sg->prev = nullptr;
  sudog* parent;
  sudog* head = find(sg->addr, &parent);
  if (head == nullptr) {
    sg->tail = sg;
    insert_node(sg, parent, ticket);
    return;
  }
  sg->prev = head->tail;
  head->tail->next = sg;
  head->tail = sg;
}

void sema_bucket::push_front(sudog* sg, std::uint32_t ticket) {
  sudog* parent;
  sudog* head = find(sg->addr, &parent);
  if (head == nullptr) {
    push_back(sg, ticket);
    return;
  }
  mark_queued(sg);
  sg->prev = nullptr;
  sg->next = head;
  sg->tail = head->tail;
  head->prev = sg;
  replace_node(head, sg);
}

void sema_bucket::remove_slow(sudog* sg) {
  sg->queued = false;
  if (sg->prev != nullptr) {
    sudog* head = sg->prev;
    sg->prev->next = sg->next;
    if (sg->next != nullptr) {
      sg->next->prev = sg->prev;
    } else {
      // Only the head knows the tail. Reach it through the treap rather than along the list: O(log n).
      sudog* parent;
      head = find(sg->addr, &parent);
      head->tail = sg->prev;
    }
  } else if (sg->next != nullptr) {
    sudog* heir = sg->next;
    heir->prev = nullptr;
    heir->tail = sg->tail;
    replace_node(sg, heir);
  } else {
    erase_node(sg);
  }
  sg->next = sg->prev = sg->tail = nullptr;
}

void sema_bucket::insert_node(sudog* sg, sudog* parent, std::uint32_t ticket) {
  sg->left = sg->right = nullptr;
  sg->parent = parent;
  sg->ticket = ticket;
  if (parent == nullptr) {
    root_ = sg;
  } else if (key(sg->addr) < key(parent->addr)) {
    parent->left = sg;
  } else {
    parent->right = sg;
  }
  while (sg->parent != nullptr && sg->parent->ticket > sg->ticket) {
    if (sg->parent->left == sg) {
      rotate_right(sg->parent);
    } else {
      rotate_left(sg->parent);
    }
  }
}

void sema_bucket::replace_node(sudog* old, sudog* with) {
  with->ticket = old->ticket;
  with->parent = old->parent;
  with->left = old->left;
  with->right = old->right;
  if (with->left != nullptr) with->left->parent = with;
  if (with->right != nullptr) with->right->parent = with;
  set_child(old->parent, old, with);
  old->parent = old->left = old->right = nullptr;
}

void sema_bucket::erase_node(sudog* sg) {
  while (sg->left != nullptr || sg->right != nullptr) {
    if (sg->right == nullptr || (sg->left != nullptr && sg->left->ticket < sg->right->ticket)) {
      rotate_right(sg);
    } else {
      rotate_left(sg);
    }
  }
  set_child(sg->parent, sg, nullptr);
  sg->parent = nullptr;
}

void sema_bucket::set_child(sudog* parent, sudog* old, sudog* with) {
  if (parent == nullptr) {
    root_ = with;
  } else if (parent->left == old) {
    parent->left = with;
  } else {
    parent->right = with;
  }
}

void sema_bucket::rotate_left(sudog* x) {
  sudog* y = x->right;
  x->right = y->left;
  if (x->right != nullptr) x->right->parent = x;
  y->parent = x->parent;
  set_child(x->parent, x, y);
  y->left = x;
  x->parent = y;
}

void sema_bucket::rotate_right(sudog* y) {
  sudog* x = y->left;
  y->left = x->right;
  if (y->left != nullptr) y->left->parent = y;
  x->parent = y->parent;
  set_child(y->parent, y, x);
  x->right = y;
  y->parent = x;
}

bool sema_bucket::check() const {
  return root_ == nullptr || (root_->parent == nullptr && check(root_, 0, ~std::uintptr_t{0}));
}

bool sema_bucket::check(const sudog* sg, std::uintptr_t lo, std::uintptr_t hi) const {
  const std::uintptr_t k = key(sg->addr);
  if (k < lo || k > hi || !sg->queued || sg->prev != nullptr) return false;
  const sudog* last = sg;
  for (const sudog* at = sg; at != nullptr; at = at->next) {
    if (at->addr != sg->addr || !at->queued) return false;
    if (at->next != nullptr && at->next->prev != at) return false;
    last = at;
  }
  if (sg->tail != last) return false;
  for (const sudog* child : {sg->left, sg->right}) {
    if (child != nullptr && (child->parent != sg || child->ticket < sg->ticket)) return false;
  }
  return (sg->left == nullptr || check(sg->left, lo, k - 1)) && (sg->right == nullptr || check(sg->right, k + 1, hi));
}

}  // namespace weft::rt
