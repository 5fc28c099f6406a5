/* What GCC 12's static libstdc++ asks of a glibc newer than the packages' own, made of what that one has. */

#include <sys/random.h>

/* glibc 2.32: non-zero while there is one thread only. Zero is always right, and only costs an atomic operation. */
char __libc_single_threaded = 0;

/* glibc 2.36: std::random_device's source. getrandom gives 4 bytes whole, or is interrupted before the pool is ready. */
unsigned arc4random(void) {
  unsigned bits;
  while (getrandom(&bits, sizeof bits, 0) != sizeof bits) {
  }
  return bits;
}
