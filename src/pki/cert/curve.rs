//! Whether a point lies on its curve, for the curves whose points Go checks when it loads a root: a damaged key makes a
//! root useless, and the root's own signature does not reveal every such key. Nothing here is secret.

/// Wide enough for a sum of two numbers of 521 bits.
const LIMBS: usize = 9;

/// A number, its lowest limb first.
type Number = [u64; LIMBS];

/// y² = x³ - 3x + b modulo p.
#[derive(Debug)]
struct CurveEquation {
    oid: &'static [u8],
    /// Bytes of a coordinate.
    size: usize,
    p: &'static str,
    b: &'static str,
}

/// FIPS 186-4 appendix D.1.2.
const CURVES: [CurveEquation; 4] = [
    CurveEquation {
        oid: &[0x2b, 0x81, 0x04, 0x00, 0x21],
        size: 28,
        p: "ffffffffffffffffffffffffffffffff000000000000000000000001",
        b: "b4050a850c04b3abf54132565044b0b7d7bfd8ba270b39432355ffb4",
    },
    CurveEquation {
        oid: &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
        size: 32,
        p: "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff",
        b: "5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b",
    },
    CurveEquation {
        oid: &[0x2b, 0x81, 0x04, 0x00, 0x22],
        size: 48,
        p: "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000ffffffff",
        b: "b3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aef",
    },
    CurveEquation {
        oid: &[0x2b, 0x81, 0x04, 0x00, 0x23],
        size: 66,
        p: "01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        b: "0051953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e156193951ec7e937b1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f00",
    },
];

/// Whether this is one of NIST's curves over prime fields: P-224, P-256, P-384, P-521.
pub(super) fn is_nist(oid: &[u8]) -> bool {
    CURVES.iter().any(|curve| curve.oid == oid)
}

/// Whether an uncompressed point (its first byte omitted) lies on the curve with this object identifier; `None` for
/// curves that are not known here.
pub(super) fn holds(oid: &[u8], coordinates: &[u8]) -> Option<bool> {
    let curve = CURVES.iter().find(|curve| curve.oid == oid)?;
    let Some((x, y)) = coordinates.split_at_checked(curve.size).filter(|(_, y)| y.len() == curve.size) else {
        return Some(false);
    };
    let number = |text: &str| hex::decode(text).ok().map(|bytes| number(&bytes));
    let (p, b) = (number(curve.p)?, number(curve.b)?);
    let (x, y) = (self::number(x), self::number(y));
    if !is_less(&x, &p) || !is_less(&y, &p) {
        return Some(false);
    }
    let left = times(&y, &y, &p);
    let cube = times(&times(&x, &x, &p), &x, &p);
    let three_x = plus(&plus(&x, &x, &p), &x, &p);
    // Both sides with 3x added.
    Some(plus(&left, &three_x, &p) == plus(&cube, &b, &p))
}

fn number(bytes: &[u8]) -> Number {
    let mut number = [0; LIMBS];
    for (at, byte) in bytes.iter().rev().enumerate().take(LIMBS * 8) {
        number[at / 8] |= u64::from(*byte) << (at % 8 * 8);
    }
    number
}

fn is_less(a: &Number, b: &Number) -> bool {
    a.iter().rev().lt(b.iter().rev())
}

/// The sum modulo p of two numbers below p.
fn plus(a: &Number, b: &Number, p: &Number) -> Number {
    let mut sum = [0; LIMBS];
    let mut carry = false;
    for at in 0..LIMBS {
        let (partial, first) = a[at].overflowing_add(b[at]);
        let (whole, second) = partial.overflowing_add(u64::from(carry));
        (sum[at], carry) = (whole, first || second);
    }
    if is_less(&sum, p) {
        return sum;
    }
    let mut borrow = false;
    for at in 0..LIMBS {
        let (partial, first) = sum[at].overflowing_sub(p[at]);
        let (whole, second) = partial.overflowing_sub(u64::from(borrow));
        (sum[at], borrow) = (whole, first || second);
    }
    sum
}

/// The product modulo p, one bit after the other.
fn times(a: &Number, b: &Number, p: &Number) -> Number {
    let mut product = [0; LIMBS];
    for limb in b.iter().rev() {
        for bit in (0..64).rev() {
            product = plus(&product, &product, p);
            if limb >> bit & 1 == 1 {
                product = plus(&product, a, p);
            }
        }
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The base points of FIPS 186-4.
    #[test]
    fn base_points_lie_on_their_curves_and_their_neighbours_do_not() {
        for (curve, x, y) in [
            (
                0,
                "b70e0cbd6bb4bf7f321390b94a03c1d356c21122343280d6115c1d21",
                "bd376388b5f723fb4c22dfe6cd4375a05a07476444d5819985007e34",
            ),
            (
                1,
                "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296",
                "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
            ),
            (
                2,
                "aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7",
                "3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f",
            ),
            (
                3,
                "00c6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3dbaa14b5e77efe75928fe1dc127a2ffa8de3348b3c1856a429bf97e7e31c2e5bd66",
                "011839296a789a3bc0045c8a5fb42c7d1bd998f54449579b446817afbd17273e662c97ee72995ef42640c550b9013fad0761353c7086a272c24088be94769fd16650",
            ),
        ] {
            let oid = CURVES[curve].oid;
            let mut point = hex::decode(format!("{x}{y}")).expect("hex");
            assert_eq!(holds(oid, &point), Some(true), "{curve}");
            *point.last_mut().expect("bytes") ^= 1;
            assert_eq!(holds(oid, &point), Some(false), "{curve}");
            assert_eq!(holds(oid, &vec![0xff; point.len()]), Some(false), "{curve}");
            assert_eq!(holds(oid, &point[1..]), Some(false), "{curve}");
        }
        assert_eq!(holds(&[0x2b, 0x81, 0x04, 0x00, 0x0a], &[1; 64]), None);
    }
}
