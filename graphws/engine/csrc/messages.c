/* Passes of a round of message passing over the edges of dense blocks, [n, t, s, c] float32: n networks, each with t
 * targets, s sources. A network's edges and nodes stand `..n` numbers after those of the one before.
 */
#include "common.h"

enum activation { SILU, RELU };

/* e^x to 2 units in the last place, as a compiler turns it into vector instructions. */
INLINE float exponential(float x) {
    x = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
    const float whole = rintf(x * 1.44269504f);
    const float r = (x - whole * 0.693145752f) - whole * 1.42860677e-6f;
    float p = 1.98756912e-4f;
    p = p * r + 1.39819994e-3f;
    p = p * r + 8.33345205e-3f;
    p = p * r + 4.16657962e-2f;
    p = p * r + 1.66666657e-1f;
    p = p * r + 5e-1f;
    union { int bits; float value; } power = {((int)whole + 127) << 23};
    return (p * r * r + r + 1) * power.value;
}

INLINE float active(float x, enum activation kind) {
    return kind == RELU ? relu(x) : x / (1 + exponential(-x));
}

INLINE float slope_of(float x, enum activation kind) {
    if (kind == RELU) return x <= 0 ? 0 : 1;
    const float gate = 1 / (1 + exponential(-x));
    return gate * (1 + x * (1 - gate));
}

INLINE void spread_network(const float *product, float *before, float *hidden, const float *source,
                           const float *target, float *at_source, float *at_target, enum activation kind, count t,
                           count s, count c) {
    for (count i = 0; i < t; i++)
        for (count j = 0; j < s; j++) {
            const count at = (i * s + j) * c;
            const float *restrict p = product + at, *restrict a = source + j * c, *restrict b = target + i * c;
            float *restrict x = before + at, *restrict h = hidden + at;
            EACH {
                const float sum = p[k] + (a[k] + b[k]);
                x[k] = sum;
                h[k] = active(sum, kind);
            }
            if (at_source) {
                float *restrict u = at_source + j * c, *restrict v = at_target + i * c;
                EACH { u[k] += h[k]; v[k] += h[k]; }
            }
        }
}

/* before = product + source + target, hidden = its activation, which is added to the sums at both ends. */
void spread_rows(const float *product, count pn, float *before, count bn, float *hidden, count hn, const float *source,
                 const float *target, count en, float *at_source, float *at_target, count an, int kind, count n,
                 count t, count s, count c, int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (count b = 0; b < n; b++) {
        float *from = at_source ? at_source + b * an : 0, *to = at_source ? at_target + b * an : 0;
        const float *p = product + b * pn, *u = source + b * en, *v = target + b * en;
        float *x = before + b * bn, *h = hidden + b * hn;
        if (kind == SILU) WITH(c, spread_network(p, x, h, u, v, from, to, SILU, t, s, C));
        else WITH(c, spread_network(p, x, h, u, v, from, to, RELU, t, s, C));
    }
}

INLINE void slope_network(const float *above, const float *before, const float *of_source, const float *of_target,
                          float *slope, float *hidden, float *at_source, float *at_target, enum activation kind,
                          count t, count s, count c) {
    for (count i = 0; i < t; i++)
        for (count j = 0; j < s; j++) {
            const count at = (i * s + j) * c;
            const float *restrict x = before + at, *restrict g = above + at;
            const float *restrict a = of_source + j * c, *restrict b = of_target + i * c;
            float *restrict o = slope + at, *restrict h = hidden + at;
            float *restrict u = at_source + j * c, *restrict v = at_target + i * c;
            if (above && of_source) EACH o[k] = g[k] + (a[k] + b[k]);
            else if (above) EACH o[k] = g[k];
            else EACH o[k] = a[k] + b[k];
            EACH {
                o[k] *= slope_of(x[k], kind);
                u[k] += o[k];
                v[k] += o[k];
            }
            if (hidden) EACH h[k] = active(x[k], kind);
        }
}

/* slope: the gradient of before, from that of hidden, above, and those of its sums; added to those of both ends. */
void slope_rows(const float *above, count gn, const float *before, count bn, const float *of_source,
                const float *of_target, count on, float *slope, count sn, float *hidden, count hn, float *at_source,
                float *at_target, count an, int kind, count n, count t, count s, count c, int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (count b = 0; b < n; b++) {
        const float *g = above ? above + b * gn : 0, *x = before + b * bn;
        const float *u = of_source ? of_source + b * on : 0, *v = of_source ? of_target + b * on : 0;
        float *o = slope + b * sn, *h = hidden ? hidden + b * hn : 0, *from = at_source + b * an, *to = at_target + b * an;
        if (kind == SILU) WITH(c, slope_network(g, x, u, v, o, h, from, to, SILU, t, s, C));
        else WITH(c, slope_network(g, x, u, v, o, h, from, to, RELU, t, s, C));
    }
}

/* out = (x - mean) * scale of rows [n, c]; the statistics are written too, unless they are known. */
void normalise_rows(const float *x, float eps, int known, float *mean, float *scale, float *out, count n, count c,
                    int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (count b = 0; b < n; b++) {
        const float *restrict own = x + b * c;
        float *restrict o = out + b * c;
        if (!known) WITH(c, moments(own, eps, mean + b, scale + b, C));
        const float middle = mean[b], factor = scale[b];
        EACH o[k] = (own[k] - middle) * factor;
    }
}

INLINE void unnormalise_row(const float *restrict x, float mean, float scale, const float *restrict g,
                            const float *restrict old, float *restrict out, count c) {
    float sum = 0, moment = 0;
#pragma omp simd reduction(+ : sum, moment)
    EACH {
        sum += g[k];
        moment += g[k] * (x[k] - mean) * scale;
    }
    sum /= c;
    moment /= c;
    if (old) EACH out[k] = old[k] + scale * (g[k] - sum - (x[k] - mean) * scale * moment);
    else EACH out[k] = scale * (g[k] - sum - (x[k] - mean) * scale * moment);
}

/* out: the gradient of rows x whose normalised values have the gradient g; old is added, where there is one. */
void unnormalise_rows(const float *x, const float *mean, const float *scale, const float *g, const float *old,
                      float *out, count n, count c, int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (count b = 0; b < n; b++)
        WITH(c, unnormalise_row(x + b * c, mean[b], scale[b], g + b * c, old ? old + b * c : 0, out + b * c, C));
}

/* out = found + bias + old, rows [n, c]; without old where there is none. */
void add_rows(const float *found, const float *bias, const float *old, float *out, count n, count c, int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (count b = 0; b < n; b++) {
        const float *restrict f = found + b * c, *restrict before = old + b * c;
        float *restrict o = out + b * c;
        if (old) EACH o[k] = f[k] + bias[k] + before[k];
        else EACH o[k] = f[k] + bias[k];
    }
}
