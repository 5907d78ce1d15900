/// What a parser makes of a file.
///
/// A parser has four answers and no crash. Whoever gets another answer than `complete` treats the file as bytes: what is
/// stored and restored never depends on what a parser believed.
package enum Finding<Value: Sendable>: Sendable {
    /// The structure holds: all that the file announces is there, and nothing contradicts it. Says nothing about the
    /// content, which no loader of these formats checks either.
    case complete(Value)
    /// The file is of this format, and what it announces is missing or contradicts itself: its own loader fails.
    case torn(TornEvidence)
    /// The file does not begin as this format does. The text says what was found instead.
    case notThisFormat(String)
    /// The file may be whole, but this parser cannot tell: a part it does not know, or one beyond its limits. The text
    /// is the reason.
    case unsupported(String)

    /// The value of a complete file.
    package var value: Value? {
        if case .complete(let value) = self { value } else { nil }
    }

    /// The evidence against a torn file.
    package var evidence: TornEvidence? {
        if case .torn(let evidence) = self { evidence } else { nil }
    }

    /// Why there is no value, on one line, for people; nil when there is one.
    package var reason: String? {
        switch self {
        case .complete: nil
        case .torn(let evidence): evidence.message
        case .notThisFormat(let message), .unsupported(let message): message
        }
    }

    /// The same finding about another value. Rethrows what `transform` throws.
    package func map<Other: Sendable>(_ transform: (Value) throws -> Other) rethrows -> Finding<Other> {
        switch self {
        case .complete(let value): .complete(try transform(value))
        case .torn(let evidence): .torn(evidence)
        case .notThisFormat(let message): .notThisFormat(message)
        case .unsupported(let message): .unsupported(message)
        }
    }

    /// What `body` finds out. Throws only what the source throws.
    init(_ body: () throws -> Value) throws {
        do {
            self = .complete(try body())
        } catch let stop as Stop {
            switch stop {
            case .torn(var evidence):
                evidence.message = Self.line(evidence.message)
                self = .torn(evidence)
            case .notThisFormat(let message): self = .notThisFormat(Self.line(message))
            case .unsupported(let message): self = .unsupported(Self.line(message))
            }
        }
    }

    /// The message as one line of bounded length: it may quote names from the file, which may hold anything.
    private static func line(_ message: String) -> String {
        let scalars = message.unicodeScalars.prefix(400).map { scalar in
            scalar.properties.generalCategory == .control || scalar.value == 0x2028 || scalar.value == 0x2029
                ? "\u{fffd}" : scalar
        }
        return String(String.UnicodeScalarView(scalars))
    }
}

/// Why a file is held to be torn.
package struct TornEvidence: Hashable, Sendable, CustomStringConvertible {
    /// What kind of evidence it is.
    package enum Kind: Hashable, Sendable {
        /// The file ends before what it announces.
        case truncated
        /// A part that another part refers to is not there.
        case missing
        /// Two parts contradict each other, or one cannot be read.
        case damaged
    }

    package var kind: Kind
    /// One line: what was expected, and what is there.
    package var message: String
    /// The least size in bytes that the whole file would have, as far as is known.
    package var expectedSize: UInt64?

    package init(kind: Kind, message: String, expectedSize: UInt64? = nil) {
        self.kind = kind
        self.message = message
        self.expectedSize = expectedSize
    }

    package var description: String { message }
}

/// Ends a parse early; `Finding.init(_:)` turns it into the finding. Never leaves this module.
enum Stop: Error {
    case torn(TornEvidence)
    case notThisFormat(String)
    case unsupported(String)

    static func truncated(_ message: String, expectedSize: UInt64? = nil) -> Stop {
        .torn(TornEvidence(kind: .truncated, message: message, expectedSize: expectedSize))
    }

    static func missing(_ message: String) -> Stop { .torn(TornEvidence(kind: .missing, message: message)) }

    static func damaged(_ message: String) -> Stop { .torn(TornEvidence(kind: .damaged, message: message)) }
}

extension Finding {
    /// The value, or the stop that leads to this finding again.
    func get() throws -> Value {
        switch self {
        case .complete(let value): return value
        case .torn(let evidence): throw Stop.torn(evidence)
        case .notThisFormat(let message): throw Stop.notThisFormat(message)
        case .unsupported(let message): throw Stop.unsupported(message)
        }
    }
}
