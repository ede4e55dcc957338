// Opens the plugin and calls its main. The plugin's thread-locals are the initial-exec kind: they have to find room in
// the static block of threads that are there already.
#include <dlfcn.h>

#include <cstdio>

int main() {
  void* plugin = dlopen(PLUGIN, RTLD_NOW | RTLD_LOCAL);
  if (plugin == nullptr) {
    std::fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  void* entry = dlsym(plugin, "_Z11plugin_mainv");
  if (entry == nullptr) {
    std::fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  return reinterpret_cast<int (*)()>(entry)();
}
