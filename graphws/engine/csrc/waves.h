/* Sines, cosines and hyperbolic tangents of float32 numbers. */
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

/* tanh x: a series near 0, else 1 - 2 / (exp 2|x| + 1), the power of two apart from the rest of the exponent. */
INLINE float hyperbolic_tangent(float x) {
    const float square = x * x, size = fabsf(x) < 10 ? fabsf(x) : 10;
    float near = -1.4558344e-3f;
    near = near * square + 3.5921280e-3f;
    near = near * square - 8.8632355e-3f;
    near = near * square + 2.1869489e-2f;
    near = near * square - 5.3968254e-2f;
    near = near * square + 1.3333333e-1f;
    near = near * square - 3.3333333e-1f;
    near = x + x * square * near;
    const float turns = size * 2.8853901f, whole = rintf(turns);
    const float r = size * 2 - whole * 0.693359375f + whole * 2.1219444e-4f;
    float power = 1.9841270e-4f;
    power = power * r + 1.3888889e-3f;
    power = power * r + 8.3333333e-3f;
    power = power * r + 4.1666667e-2f;
    power = power * r + 1.6666667e-1f;
    power = power * r + 0.5f;
    power = 1 + r + r * r * power;
    const union { int bits; float number; } two = {((int)whole + 127) << 23};
    const float far = 1 - 2 / (power * two.number + 1);
    const float found = size < 0.5f ? near : x < 0 ? -far : far;
    return x == x ? found : x;
}
