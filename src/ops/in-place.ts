// The types of in-place methods that only the operator table declares. Written by `npm run docs`; do not edit.

import type { Scalar } from "../tensor/index.js";

declare module "../tensor/tensor.js" {
  interface Tensor {
    /** As `abs`, written into this tensor. */
    abs_(): this;
    /** As `acos`, written into this tensor. */
    acos_(): this;
    /** As `acosh`, written into this tensor. */
    acosh_(): this;
    /** As `add`, written into this tensor. */
    add_(other: Tensor | Scalar, options?: { alpha?: Scalar }): this;
    /** As `addcdiv`, written into this tensor. */
    addcdiv_(tensor1: Tensor | Scalar, tensor2: Tensor | Scalar, options?: { value?: Scalar }): this;
    /** As `addcmul`, written into this tensor. */
    addcmul_(tensor1: Tensor | Scalar, tensor2: Tensor | Scalar, options?: { value?: Scalar }): this;
    /** As `asin`, written into this tensor. */
    asin_(): this;
    /** As `asinh`, written into this tensor. */
    asinh_(): this;
    /** As `atan2`, written into this tensor. */
    atan2_(other: Tensor | Scalar): this;
    /** As `atan`, written into this tensor. */
    atan_(): this;
    /** As `atanh`, written into this tensor. */
    atanh_(): this;
    /** As `bitwiseAnd`, written into this tensor. */
    bitwiseAnd_(other: Tensor | Scalar): this;
    /** As `bitwiseLeftShift`, written into this tensor. */
    bitwiseLeftShift_(other: Tensor | Scalar): this;
    /** As `bitwiseNot`, written into this tensor. */
    bitwiseNot_(): this;
    /** As `bitwiseOr`, written into this tensor. */
    bitwiseOr_(other: Tensor | Scalar): this;
    /** As `bitwiseRightShift`, written into this tensor. */
    bitwiseRightShift_(other: Tensor | Scalar): this;
    /** As `bitwiseXor`, written into this tensor. */
    bitwiseXor_(other: Tensor | Scalar): this;
    /** As `ceil`, written into this tensor. */
    ceil_(): this;
    /** As `celu`, written into this tensor. */
    celu_(alpha?: Scalar): this;
    /** As `clampMax`, written into this tensor. */
    clampMax_(max: Tensor | Scalar): this;
    /** As `clampMin`, written into this tensor. */
    clampMin_(min: Tensor | Scalar): this;
    /** As `clamp`, written into this tensor. */
    clamp_(min?: Tensor | Scalar | null, max?: Tensor | Scalar | null): this;
    /** As `copysign`, written into this tensor. */
    copysign_(other: Tensor | Scalar): this;
    /** As `cos`, written into this tensor. */
    cos_(): this;
    /** As `cosh`, written into this tensor. */
    cosh_(): this;
    /** As `deg2rad`, written into this tensor. */
    deg2rad_(): this;
    /** As `digamma`, written into this tensor. */
    digamma_(): this;
    /** As `div`, written into this tensor. */
    div_(other: Tensor | Scalar): this;
    div_(other: Tensor | Scalar, options: { roundingMode: string | null }): this;
    /** As `elu`, written into this tensor. */
    elu_(alpha?: Scalar, scale?: Scalar, inputScale?: Scalar): this;
    /** As `eq`, written into this tensor. */
    eq_(other: Tensor | Scalar): this;
    /** As `erf`, written into this tensor. */
    erf_(): this;
    /** As `erfc`, written into this tensor. */
    erfc_(): this;
    /** As `erfinv`, written into this tensor. */
    erfinv_(): this;
    /** As `exp2`, written into this tensor. */
    exp2_(): this;
    /** As `exp`, written into this tensor. */
    exp_(): this;
    /** As `expm1`, written into this tensor. */
    expm1_(): this;
    /** As `floorDivide`, written into this tensor. */
    floorDivide_(other: Tensor | Scalar): this;
    /** As `floor`, written into this tensor. */
    floor_(): this;
    /** As `fmax`, written into this tensor. */
    fmax_(other: Tensor | Scalar): this;
    /** As `fmin`, written into this tensor. */
    fmin_(other: Tensor | Scalar): this;
    /** As `fmod`, written into this tensor. */
    fmod_(other: Tensor | Scalar): this;
    /** As `frac`, written into this tensor. */
    frac_(): this;
    /** As `gcd`, written into this tensor. */
    gcd_(other: Tensor | Scalar): this;
    /** As `ge`, written into this tensor. */
    ge_(other: Tensor | Scalar): this;
    /** As `gelu`, written into this tensor. */
    gelu_(options?: { approximate?: string }): this;
    /** As `gt`, written into this tensor. */
    gt_(other: Tensor | Scalar): this;
    /** As `hardsigmoid`, written into this tensor. */
    hardsigmoid_(): this;
    /** As `hardswish`, written into this tensor. */
    hardswish_(): this;
    /** As `hardtanh`, written into this tensor. */
    hardtanh_(minVal?: Scalar, maxVal?: Scalar): this;
    /** As `heaviside`, written into this tensor. */
    heaviside_(other: Tensor | Scalar): this;
    /** As `hypot`, written into this tensor. */
    hypot_(other: Tensor | Scalar): this;
    /** As `i0`, written into this tensor. */
    i0_(): this;
    /** As `lcm`, written into this tensor. */
    lcm_(other: Tensor | Scalar): this;
    /** As `ldexp`, written into this tensor. */
    ldexp_(other: Tensor | Scalar): this;
    /** As `le`, written into this tensor. */
    le_(other: Tensor | Scalar): this;
    /** As `leakyRelu`, written into this tensor. */
    leakyRelu_(negativeSlope?: Scalar): this;
    /** As `lerp`, written into this tensor. */
    lerp_(end: Tensor | Scalar, weight: Tensor | Scalar): this;
    /** As `lgamma`, written into this tensor. */
    lgamma_(): this;
    /** As `log10`, written into this tensor. */
    log10_(): this;
    /** As `log1p`, written into this tensor. */
    log1p_(): this;
    /** As `log2`, written into this tensor. */
    log2_(): this;
    /** As `log`, written into this tensor. */
    log_(): this;
    /** As `logaddexp2`, written into this tensor. */
    logaddexp2_(other: Tensor | Scalar): this;
    /** As `logaddexp`, written into this tensor. */
    logaddexp_(other: Tensor | Scalar): this;
    /** As `logicalAnd`, written into this tensor. */
    logicalAnd_(other: Tensor | Scalar): this;
    /** As `logicalNot`, written into this tensor. */
    logicalNot_(): this;
    /** As `logicalOr`, written into this tensor. */
    logicalOr_(other: Tensor | Scalar): this;
    /** As `logicalXor`, written into this tensor. */
    logicalXor_(other: Tensor | Scalar): this;
    /** As `logit`, written into this tensor. */
    logit_(eps?: number | null): this;
    /** As `lt`, written into this tensor. */
    lt_(other: Tensor | Scalar): this;
    /** As `maskedFill`, written into this tensor. */
    maskedFill_(mask: Tensor | Scalar, value: Tensor | Scalar): this;
    /** As `maximum`, written into this tensor. */
    maximum_(other: Tensor | Scalar): this;
    /** As `minimum`, written into this tensor. */
    minimum_(other: Tensor | Scalar): this;
    /** As `mish`, written into this tensor. */
    mish_(): this;
    /** As `mul`, written into this tensor. */
    mul_(other: Tensor | Scalar): this;
    /** As `nanToNum`, written into this tensor. */
    nanToNum_(nan?: number | null, posinf?: number | null, neginf?: number | null): this;
    /** As `ne`, written into this tensor. */
    ne_(other: Tensor | Scalar): this;
    /** As `neg`, written into this tensor. */
    neg_(): this;
    /** As `pow`, written into this tensor. */
    pow_(exponent: Tensor | Scalar): this;
    /** As `rad2deg`, written into this tensor. */
    rad2deg_(): this;
    /** As `reciprocal`, written into this tensor. */
    reciprocal_(): this;
    /** As `relu6`, written into this tensor. */
    relu6_(): this;
    /** As `relu`, written into this tensor. */
    relu_(): this;
    /** As `remainder`, written into this tensor. */
    remainder_(other: Tensor | Scalar): this;
    /** As `round`, written into this tensor. */
    round_(): this;
    round_(options: { decimals: number }): this;
    /** As `rsqrt`, written into this tensor. */
    rsqrt_(): this;
    /** As `selu`, written into this tensor. */
    selu_(): this;
    /** As `sigmoid`, written into this tensor. */
    sigmoid_(): this;
    /** As `sign`, written into this tensor. */
    sign_(): this;
    /** As `silu`, written into this tensor. */
    silu_(): this;
    /** As `sin`, written into this tensor. */
    sin_(): this;
    /** As `sinc`, written into this tensor. */
    sinc_(): this;
    /** As `sinh`, written into this tensor. */
    sinh_(): this;
    /** As `sqrt`, written into this tensor. */
    sqrt_(): this;
    /** As `square`, written into this tensor. */
    square_(): this;
    /** As `sub`, written into this tensor. */
    sub_(other: Tensor | Scalar, options?: { alpha?: Scalar }): this;
    /** As `tan`, written into this tensor. */
    tan_(): this;
    /** As `tanh`, written into this tensor. */
    tanh_(): this;
    /** As `threshold`, written into this tensor. */
    threshold_(threshold: Scalar, value: Scalar): this;
    /** As `trunc`, written into this tensor. */
    trunc_(): this;
    /** As `xlogy`, written into this tensor. */
    xlogy_(other: Tensor | Scalar): this;
  }
}
