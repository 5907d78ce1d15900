import PluginHost
import Testing

@Suite struct PingScannerTests {
    private static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)

    private static func frame(type: UInt8, flags: UInt8 = 0, stream: UInt8 = 0, _ payload: [UInt8]) -> [UInt8] {
        [UInt8(payload.count >> 16), UInt8(payload.count >> 8 & 255), UInt8(payload.count & 255), type, flags, 0, 0, 0]
            + [stream] + payload
    }

    private static func scan(_ pieces: [[UInt8]]) -> (passed: [UInt8], answers: [UInt8]) {
        var scanner = PingScanner()
        var passed: [UInt8] = []
        var answers: [UInt8] = []
        for piece in pieces { scanner.scan(piece.span, passed: &passed, answers: &answers) }
        return (passed, answers)
    }

    @Test func aPingIsAnsweredWithItsPayloadAndNotPassedOn() {
        let payload: [UInt8] = [1, 2, 3, 4, 5, 6, 7, 8]
        let settings = Self.frame(type: 4, [])
        let data = Self.frame(type: 0, stream: 1, Array(repeating: 6, count: 300))
        let (passed, answers) = Self.scan([Self.preface + settings + Self.frame(type: 6, payload) + data])
        #expect(passed == Self.preface + settings + data)
        #expect(answers == Self.frame(type: 6, flags: 1, payload))
    }

    @Test(arguments: [
        ("an answer to one of ours", frame(type: 6, flags: 1, Array(repeating: 0, count: 8))),
        ("one of another length", frame(type: 6, Array(repeating: 0, count: 7))),
        ("one on a stream", frame(type: 6, stream: 3, Array(repeating: 0, count: 8))),
        ("data that looks like one", frame(type: 0, stream: 1, frame(type: 6, Array(repeating: 0, count: 8)))),
    ])
    func whatIsNoPingIsPassedOn(_ name: String, _ frame: [UInt8]) {
        let (passed, answers) = Self.scan([Self.preface + frame])
        #expect(passed == Self.preface + frame, "\(name)")
        #expect(answers.isEmpty, "\(name)")
    }

    @Test func itDoesNotMatterWhereTheStreamIsCut() {
        var generator = SystemRandomNumberGenerator()
        let seed = UInt64.random(in: .min ... .max, using: &generator)
        var state = seed
        func next(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        for _ in 0..<200 {
            var stream = Self.preface
            var expected = Self.preface
            var pings: [UInt8] = []
            for _ in 0..<next(20) {
                let payload = (0..<8).map { _ in UInt8(next(256)) }
                if next(2) == 0 {
                    stream += Self.frame(type: 6, payload)
                    pings += Self.frame(type: 6, flags: 1, payload)
                } else {
                    let other = Self.frame(
                        type: UInt8(next(6)), stream: UInt8(next(4)), (0..<next(400)).map { _ in UInt8(next(256)) })
                    stream += other
                    expected += other
                }
            }
            var pieces: [[UInt8]] = []
            while !stream.isEmpty {
                let count = 1 + next(min(stream.count, 40))
                pieces.append(Array(stream.prefix(count)))
                stream.removeFirst(count)
            }
            let (passed, answers) = Self.scan(pieces)
            #expect(passed == expected, "seed \(seed)")
            #expect(answers == pings, "seed \(seed)")
        }
    }
}
