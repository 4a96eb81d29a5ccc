/* Sines and cosines of float32 numbers. */
#pragma once
#include "common.h"

enum { TURN = 0, QUARTER = 1 };

/* sin x for offset 0, cos x for offset 1: x less a multiple of pi in double precision, a polynomial of the rest. */
INLINE float wave(float x, int offset) {
    const double half_turns = (double)x * 0.31830988618379067 + 0.5 * offset;
    const double whole = rint(half_turns);
    const float r = (float)((half_turns - whole) * 3.141592653589793);
    const float square = r * r;
    float p = -2.3889859e-8f;
    p = p * square + 2.7525562e-6f;
    p = p * square - 1.9840874e-4f;
    p = p * square + 8.3333310e-3f;
    p = p * square - 1.6666667e-1f;
    const float found = r + r * square * p;
    return whole - 2 * floor(whole * 0.5) != 0 ? -found : found;
}
