/* deterministic_math.h: ln, exp, square root and the normal quantile with the same bits on every IEEE-754 machine.
 *
 * The C library's log and exp are free to differ in the last bit from one libc or processor to the next, and one bit
 * moves one simulated order, and with it everything after. These are built from + - * / on doubles and integer
 * operations alone, each of which IEEE-754 rounds correctly, so a seed gives one tape everywhere. They must be compiled
 * without fast-math and without fused multiply-add (-ffp-contract=off, the default of -std=c11).
 *
 * Bounds held by tests/native/test_deterministic_math.py: ln, exp and sqrt within 2 units in the last place of the
 * correctly rounded value; the normal quantile within 4e-15 relative.
 */
#ifndef TRADINGD_DETERMINISTIC_MATH_H
#define TRADINGD_DETERMINISTIC_MATH_H

#include <float.h>
#include <stdint.h>
#include <string.h>

#ifdef __FAST_MATH__
#error "deterministic_math.h needs IEEE arithmetic: compile without -ffast-math"
#endif
#if FLT_EVAL_METHOD != 0
#error "deterministic_math.h needs doubles evaluated as doubles (on 32-bit x86: -msse2 -mfpmath=sse)"
#endif

static inline uint64_t math_bits(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline double math_from_bits(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

#define MATH_INFINITY math_from_bits(UINT64_C(0x7ff0000000000000))
#define MATH_NAN math_from_bits(UINT64_C(0x7ff8000000000000))

/* ln 2 in two parts; the high one has 21 trailing zero bits, so that a product with an exponent is exact. */
#define MATH_LN2_HIGH 0x1.62e42feep-1
#define MATH_LN2_LOW 0x1.a39ef35793c76p-33
#define MATH_LN2_INVERSE 0x1.71547652b82fep+0

/* Natural logarithm. x < 0 and NaN: NaN; 0: -infinity. */
static inline double math_ln(double x)
{
    if (!(x > 0.0)) {
        return x == 0.0 ? -MATH_INFINITY : MATH_NAN;
    }
    uint64_t bits = math_bits(x);
    int64_t exponent = 0;
    if (bits < UINT64_C(0x0010000000000000)) { /* subnormal */
        bits = math_bits(x * 0x1p54);
        exponent = -54;
    }
    if (bits >= UINT64_C(0x7ff0000000000000)) {
        return x;
    }
    /* x = m 2^e with m in [sqrt(1/2), sqrt 2): adding the distance from sqrt(1/2) to 1 carries into the exponent. */
    bits += UINT64_C(0x3ff0000000000000) - UINT64_C(0x3fe6a09e667f3bcd);
    exponent += (int64_t)(bits >> 52) - 1023;
    const double m = math_from_bits((bits & UINT64_C(0x000fffffffffffff)) + UINT64_C(0x3fe6a09e667f3bcd));
    const double f = m - 1.0;
    /* ln(1+f) = 2 atanh(s), s = f/(2+f), |s| < .1716; the series in z = s^2 is below 2^-57 after z^10. Written as
     * f - (f^2/2 - s (f^2/2 + r)) the leading term is exact. */
    const double s = f / (2.0 + f);
    const double z = s * s;
    const double z2 = z * z;
    const double even = z2 * (2.0 / 5 + z2 * (2.0 / 9 + z2 * (2.0 / 13 + z2 * (2.0 / 17 + z2 * (2.0 / 21)))));
    const double odd = z * (2.0 / 3 + z2 * (2.0 / 7 + z2 * (2.0 / 11 + z2 * (2.0 / 15 + z2 * (2.0 / 19)))));
    const double r = even + odd;
    const double half_square = 0.5 * f * f;
    const double e = (double)exponent;
    return e * MATH_LN2_HIGH - ((half_square - (s * (half_square + r) + e * MATH_LN2_LOW)) - f);
}

/* e^x. Above 709.79: infinity; below -745.14: 0; NaN: NaN. */
static inline double math_exp(double x)
{
    if (!(x <= 709.782712893384)) {
        return x > 0.0 ? MATH_INFINITY : MATH_NAN;
    }
    if (x < -745.1332191019412) {
        return 0.0;
    }
    /* x = k ln2 + r, |r| <= ln2/2: the Taylor series is below 2^-57 after r^13. */
    const int64_t k = (int64_t)(x * MATH_LN2_INVERSE + (x < 0.0 ? -0.5 : 0.5));
    const double high = x - (double)k * MATH_LN2_HIGH;
    const double low = (double)k * MATH_LN2_LOW;
    const double r = high - low;
    const double r2 = r * r;
    const double odd = 1.0 / 6 + r2 * (1.0 / 120 + r2 * (1.0 / 5040 + r2 * (1.0 / 362880 + r2 * (1.0 / 39916800 + r2 * (1.0 / 6227020800)))));
    const double even = 0.5 + r2 * (1.0 / 24 + r2 * (1.0 / 720 + r2 * (1.0 / 40320 + r2 * (1.0 / 3628800 + r2 * (1.0 / 479001600)))));
    const double rest = r2 * (even + r * odd);
    const double y = 1.0 + (high - (low - rest));
    /* 2^k in two steps, because 2^1024 and 2^-1074 have no normal double. */
    const int64_t half = k / 2;
    return y * math_from_bits((uint64_t)(half + 1023) << 52) * math_from_bits((uint64_t)(k - half + 1023) << 52);
}

/* Square root of x >= 0 (negative and NaN: NaN), by Heron's iteration from a guess that halves the exponent. */
static inline double math_sqrt(double x)
{
    if (!(x > 0.0)) {
        return x == 0.0 ? 0.0 : MATH_NAN;
    }
    if (x >= MATH_INFINITY) {
        return x;
    }
    double scale = 1.0;
    if (x < 0x1p-1000) { /* keep the bit trick away from subnormals */
        x *= 0x1p+120;
        scale = 0x1p-60;
    }
    /* The guess is within 3.5 %; each step squares and halves the error: 6e-4, 2e-7, 2e-14, below rounding. */
    double y = math_from_bits((math_bits(x) >> 1) + UINT64_C(0x1ff7a3bea91d9b1b));
    y = 0.5 * (y + x / y);
    y = 0.5 * (y + x / y);
    y = 0.5 * (y + x / y);
    y = 0.5 * (y + x / y);
    return y * scale;
}

/* Quantile of the standard normal law for 0 < p < 1 (0: -infinity, 1: infinity, else NaN).
 * Wichura 1988, algorithm AS 241 (PPND16): rational functions of degree 7 on three ranges. */
static inline double math_normal_quantile(double p)
{
    const double q = p - 0.5;
    if (q >= -0.425 && q <= 0.425) {
        const double r = 0.180625 - q * q;
        const double n = (((((((2.5090809287301226727e+3 * r + 3.3430575583588128105e+4) * r + 6.7265770927008700853e+4) * r
            + 4.5921953931549871457e+4) * r + 1.3731693765509461125e+4) * r + 1.9715909503065514427e+3) * r
            + 1.3314166789178437745e+2) * r + 3.3871328727963666080e+0);
        const double d = (((((((5.2264952788528545610e+3 * r + 2.8729085735721942674e+4) * r + 3.9307895800092710610e+4) * r
            + 2.1213794301586595867e+4) * r + 5.3941960214247511077e+3) * r + 6.8718700749205790830e+2) * r
            + 4.2313330701600911252e+1) * r + 1.0);
        return q * n / d;
    }
    if (!(p > 0.0 && p < 1.0)) {
        return p == 0.0 ? -MATH_INFINITY : (p == 1.0 ? MATH_INFINITY : MATH_NAN);
    }
    double r = math_sqrt(-math_ln(q < 0.0 ? p : 1.0 - p));
    double n, d;
    if (r <= 5.0) {
        r -= 1.6;
        n = (((((((7.74545014278341407640e-4 * r + 2.27238449892691845833e-2) * r + 2.41780725177450611770e-1) * r
            + 1.27045825245236838258e+0) * r + 3.64784832476320460504e+0) * r + 5.76949722146069140550e+0) * r
            + 4.63033784615654529590e+0) * r + 1.42343711074968357734e+0);
        d = (((((((1.05075007164441684324e-9 * r + 5.47593808499534494600e-4) * r + 1.51986665636164571966e-2) * r
            + 1.48103976427480074590e-1) * r + 6.89767334985100004550e-1) * r + 1.67638483018380384940e+0) * r
            + 2.05319162663775882187e+0) * r + 1.0);
    } else {
        r -= 5.0;
        n = (((((((2.01033439929228813265e-7 * r + 2.71155556874348757815e-5) * r + 1.24266094738807843860e-3) * r
            + 2.65321895265761230930e-2) * r + 2.96560571828504891230e-1) * r + 1.78482653991729133580e+0) * r
            + 5.46378491116411436990e+0) * r + 6.65790464350110377720e+0);
        d = (((((((2.04426310338993978564e-15 * r + 1.42151175831644588870e-7) * r + 1.84631831751005468180e-5) * r
            + 7.86869131145613259100e-4) * r + 1.48753612908506148525e-2) * r + 1.36929880922735805310e-1) * r
            + 5.99832206555887937690e-1) * r + 1.0);
    }
    return q < 0.0 ? -n / d : n / d;
}

#endif
