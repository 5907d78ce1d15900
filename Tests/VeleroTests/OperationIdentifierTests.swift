import Testing
import Velero

@Suite("Operation ids")
struct OperationIdentifierTests {
    static let claim = OperationIdentifier(
        kind: .volumeBackup, run: "b-1",
        subject: ResourceIdentifier(group: "", resource: "persistentvolumeclaims", namespace: "ml", name: "ckpt"),
        uid: "p-1",
        watched: ResourceIdentifier(group: "batch", resource: "jobs", namespace: "velero", name: "becalm-x7"))

    @Test("An id is text that people can read")
    func text() throws {
        #expect(
            try Self.claim.text()
                == "becalm1/volume-backup/b-1/persistentvolumeclaims/ml/ckpt/p-1/jobs.batch/velero/becalm-x7")
    }

    @Test("Another process reads the same from the text", arguments: OperationIdentifier.Kind.allCases)
    func roundTrip(kind: OperationIdentifier.Kind) throws {
        var identifier = Self.claim
        identifier.kind = kind
        #expect(try OperationIdentifier(parsing: identifier.text()) == identifier)
        identifier.subject = ResourceIdentifier(
            group: "batch", resource: "jobs", namespace: "", name: "a/b%c d\u{e9}\n")
        identifier.watched = ResourceIdentifier(group: "", resource: "", namespace: "", name: "")
        #expect(try OperationIdentifier(parsing: identifier.text()) == identifier)
        #expect(try identifier.text().utf8.allSatisfy { (0x21...0x7e).contains($0) })
    }

    @Test("The longest names of the API fit")
    func longest() throws {
        let object = ResourceIdentifier(
            group: String(repeating: "g", count: 253), resource: String(repeating: "r", count: 63),
            namespace: String(repeating: "n", count: 63), name: String(repeating: "x", count: 253))
        let uid = String(repeating: "0", count: 36)
        let identifier = OperationIdentifier(
            kind: .workloadRestore, run: uid, subject: object, uid: uid, watched: object)
        #expect(try OperationIdentifier(parsing: identifier.text()) == identifier)
    }

    @Test("What is too long is refused, when it is made and when it is read")
    func tooLong() throws {
        var identifier = Self.claim
        identifier.subject.name = String(repeating: "x", count: 2048)
        #expect(throws: OperationIdentifier.Malformed.self) { try identifier.text() }
        let text = try Self.claim.text() + String(repeating: "x", count: 2048)
        #expect(throws: OperationIdentifier.Malformed.self) { try OperationIdentifier(parsing: text) }
    }

    @Test(
        "Garbage is refused on one line",
        arguments: [
            "", "/", "//////////", "becalm1", "du-b-1.p-1", "becalm1/volume-backup", "becalm1/nonsense/a/b/c/d/e/f/g/h",
            "becalm2/volume-backup/b-1/persistentvolumeclaims/ml/ckpt/p-1/jobs.batch/velero/x",
            "becalm1/volume-backup//persistentvolumeclaims/ml/ckpt/p-1/jobs.batch/velero/x",
            "becalm1/volume-backup/b-1//ml/ckpt/p-1/jobs.batch/velero/x",
            "becalm1/volume-backup/b-1/persistentvolumeclaims/ml//p-1/jobs.batch/velero/x",
            "becalm1/volume-backup/b-1/persistentvolumeclaims/ml/ckpt/p-1/jobs.batch/velero/x/y",
            "becalm1/volume-backup/b-1/persistentvolumeclaims/ml/ck%70t/p-1/jobs.batch/velero/x",
            "becalm1/volume-backup/b-1/persistentvolumeclaims/ml/ck%C3%A9/p-1/jobs.batch/velero/x",
            "becalm1/volume-backup/b-1/persistentvolumeclaims/ml/ck%ff/p-1/jobs.batch/velero/x",
            "becalm1/volume-backup/b-1/persistentvolumeclaims/ml/ck%/p-1/jobs.batch/velero/x",
            "becalm1/volume-backup/b-1/persistentvolumeclaims/ml/ck pt/p-1/jobs.batch/velero/x",
            "becalm1/volume-backup/b-1/persistentvolumeclaims./ml/ckpt/p-1/jobs.batch/velero/x",
            "becalm1/volume-backup/b-1/persistentvolumeclaims/ml/ckpt/p-1/jobs.batch/velero/x\n", "\u{0}\n\u{e9}",
        ])
    func garbage(text: String) {
        let error = #expect(throws: OperationIdentifier.Malformed.self) { try OperationIdentifier(parsing: text) }
        #expect(error?.message.contains("\n") == false)
    }

    @Test("Random damage is refused or read as what it is then, never fatal", arguments: 0..<100)
    func damage(seed: Int) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        let whole = Array(try Self.claim.text().utf8)
        for _ in 0..<50 {
            var bytes = whole
            for _ in 0..<Int.random(in: 1...3, using: &random) where !bytes.isEmpty {
                let place = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes.remove(at: place)
                case 1: bytes[place] = UInt8.random(in: 0...255, using: &random)
                default: bytes.insert(Array("/%.0aF".utf8).randomElement(using: &random) ?? 0x2f, at: place)
                }
            }
            let text = String(decoding: bytes, as: UTF8.self)
            guard let identifier = try? OperationIdentifier(parsing: text) else { continue }
            #expect(try identifier.text() == text)
        }
    }
}
