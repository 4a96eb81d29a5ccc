/* Activations of some networks, with the units that dropout keeps, and their gradients. */
#include "waves.h"

enum kind { RELU, TANH };

/* For numbers of [n, c]: the share of a unit that is kept, 0 or the network's scale; 1 for all where bytes are none. */
#define KEPT (drawn[k] >= limit ? scale : 0)
#define EACH_NETWORK                                          \
    for (count i = 0; i < n; i++) {                           \
        const unsigned char *restrict drawn = bytes + i * c;  \
        const unsigned char limit = bytes ? limits[i] : 0;    \
        const float scale = bytes ? scales[i] : 1;            \
        (void)drawn, (void)limit, (void)scale;

/* out [n, c] = the activation of values, times a scale [n] where the byte is not below the limit [n], else 0. */
void activate(const float *values, const unsigned char *bytes, const unsigned char *limits, const float *scales,
              float *out, int kind, count n, count c, int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
    EACH_NETWORK
        const float *restrict own = values + i * c;
        float *restrict to = out + i * c;
        if (kind == RELU && bytes) EACH to[k] = relu(own[k]) * KEPT;
        else if (kind == RELU) EACH to[k] = relu(own[k]);
        else if (bytes) EACH to[k] = hyperbolic_tangent(own[k]) * KEPT;
        else EACH to[k] = hyperbolic_tangent(own[k]);
    }
}

/* of_values [n, c] by the gradients above and the activations with their scale, as they were written. */
void activate_slopes(const float *out, const unsigned char *bytes, const unsigned char *limits, const float *scales,
                     const float *above, float *of_values, int kind, count n, count c, int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
    EACH_NETWORK
        const float *restrict own = out + i * c, *restrict given = above + i * c, whole = 1 / scale;
        float *restrict to = of_values + i * c;
        if (kind == RELU) EACH to[k] = own[k] > 0 ? given[k] * scale : 0;
        else if (bytes) EACH to[k] = given[k] * KEPT * (1 - own[k] * whole * (own[k] * whole));
        else EACH to[k] = given[k] * (1 - own[k] * own[k]);
    }
}
