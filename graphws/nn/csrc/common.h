/* What all kernels share. */
#include <math.h>
#include <stddef.h>

typedef ptrdiff_t count;
#define INLINE static inline __attribute__((always_inline))
#define EACH for (count k = 0; k < c; k++)
/* A call with a number of channels that the compiler knows, where it is one of the usual ones. */
#define WITH(c, call)                          \
    do {                                       \
        if (c == 32) { enum { C = 32 }; call; } \
        else if (c == 64) { enum { C = 64 }; call; } \
        else if (c == 128) { enum { C = 128 }; call; } \
        else { const count C = c; call; } \
    } while (0)
