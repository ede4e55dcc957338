// empty: a program that does nothing. What it costs to start and end it is not the library's.
int main() { return 0; }
