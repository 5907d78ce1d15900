/// An amount as the API spells it (apimachinery, `resource.Quantity`): `10Gi`, `1.5`, `500m`, `1e3`.
///
/// Kept as a whole number of thousand-millionths, rounded up, which is as fine as the API keeps it.
package struct Quantity: Hashable, Comparable, Sendable {
    /// Billionths.
    private let nanos: Int128

    /// A whole amount.
    package init(_ amount: Int64) { nanos = Int128(amount) * 1_000_000_000 }

    private static let binary: [String: Int] = ["Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60]
    private static let decimal: [String: Int] = [
        "n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18,
    ]
    /// Amounts beyond this are this, as in the API: 2^63 - 1.
    private static let most = Int128(Int64.max) * 1_000_000_000

    /// The amount that `text` spells: a sign, digits with a fraction, and a unit or an exponent. Nil for anything else.
    package init?(_ text: String) {
        var rest = Substring(text)
        let isNegative = rest.hasPrefix("-")
        if isNegative || rest.hasPrefix("+") { rest = rest.dropFirst() }
        let isDigit: (Character) -> Bool = { $0 >= "0" && $0 <= "9" && $0.utf8.count == 1 }
        let whole = rest.prefix(while: isDigit)
        rest = rest.dropFirst(whole.count)
        var fraction = Substring()
        if rest.first == "." {
            fraction = rest.dropFirst().prefix(while: isDigit)
            rest = rest.dropFirst(1 + fraction.count)
        }
        guard !(whole.isEmpty && fraction.isEmpty), text.utf8.count <= 64 else { return nil }
        let (base, exponent): (Int128, Int)
        if let power = Self.binary[String(rest)] {
            (base, exponent) = (2, power)
        } else if let power = Self.decimal[String(rest)] {
            (base, exponent) = (10, power)
        } else if rest.first == "e" || rest.first == "E", let power = Self.exponent(rest.dropFirst()) {
            (base, exponent) = (10, power)
        } else {
            return nil
        }
        // digits * base^exponent * 10^(9 - places)
        var numerator: Int128 = 0
        for digit in whole + fraction {
            numerator = Self.multiplied(numerator, 10) + Int128(digit.wholeNumberValue ?? 0)
            guard numerator <= Self.most else { break }
        }
        var denominator: Int128 = 1
        var tens = 9 - fraction.count
        if base == 10 { tens += exponent } else { numerator = Self.multiplied(numerator, Int128(1) << exponent) }
        while tens > 0, numerator != 0, numerator <= Self.most {
            numerator = Self.multiplied(numerator, 10)
            tens -= 1
        }
        while tens < 0, denominator <= Self.most {
            denominator = Self.multiplied(denominator, 10)
            tens += 1
        }
        var amount = numerator / denominator
        if amount * denominator < numerator { amount += 1 }
        amount = min(amount, Self.most)
        nanos = isNegative ? -amount : amount
    }

    /// An exponent: a sign and at most four digits.
    private static func exponent(_ text: Substring) -> Int? {
        let digits = text.hasPrefix("-") || text.hasPrefix("+") ? text.dropFirst() : text
        guard (1...4).contains(digits.count), digits.allSatisfy({ $0.isASCII && $0.isNumber }) else { return nil }
        return Int(text)
    }

    /// The product, or what is surely too much.
    private static func multiplied(_ left: Int128, _ right: Int128) -> Int128 {
        let (product, overflow) = left.multipliedReportingOverflow(by: right)
        return overflow ? Int128(1) << 120 : product
    }

    /// Whether it is nothing.
    package var isZero: Bool { nanos == 0 }

    package static func < (left: Quantity, right: Quantity) -> Bool { left.nanos < right.nanos }
}
