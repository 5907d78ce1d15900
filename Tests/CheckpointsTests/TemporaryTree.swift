import Checkpoints
import FoundationEssentials
import Testing

/// A directory of its own for a test, which samples are copied to and cut, changed and removed in. Gone with the test.
final class TemporaryTree {
    private static let samples = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Samples")
    let root: URL

    /// An empty one, or one that holds a copy of the sample directory `sample`.
    init(_ sample: String? = nil) throws {
        root = FileManager.default.temporaryDirectory.appending(
            path: "becalm-checkpoints-\(UInt64.random(in: 0 ... .max))")
        try FileManager.default.createDirectory(at: root, withIntermediateDirectories: true)
        if let sample { try copy(sample, to: "") }
    }

    deinit { try? FileManager.default.removeItem(at: root) }

    /// The root's path without symbolic links.
    var path: String { root.resolvingSymlinksInPath().path }

    func url(_ path: String) -> URL { path.isEmpty ? root : root.appending(path: path) }

    /// When all that is copied from samples was modified, in seconds since 1970: a checkout gives them any times.
    static let sampleTime = 1_750_000_000.0

    /// A copy of a sample file, or of what is in a sample directory, at `path`.
    func copy(_ sample: String, to path: String) throws {
        let source = Self.samples.appending(path: sample)
        var isDirectory = false
        if FileManager.default.fileExists(atPath: source.path, isDirectory: &isDirectory), !isDirectory {
            return try copyFile(sample, to: path)
        }
        for name in try FileManager.default.subpathsOfDirectory(atPath: source.path) {
            let file = source.appending(path: name)
            if let target = try? FileManager.default.destinationOfSymbolicLink(atPath: file.path) {
                try link(path.isEmpty ? name : "\(path)/\(name)", to: target)
                continue
            }
            guard FileManager.default.fileExists(atPath: file.path, isDirectory: &isDirectory), !isDirectory else {
                continue
            }
            try write(path.isEmpty ? name : "\(path)/\(name)", Array(try Data(contentsOf: file)))
            try setModified(path.isEmpty ? name : "\(path)/\(name)", Self.sampleTime)
        }
    }

    /// A copy of one sample file.
    func copyFile(_ sample: String, to path: String) throws {
        try write(path, Array(try Data(contentsOf: Self.samples.appending(path: sample))))
        try setModified(path, Self.sampleTime)
    }

    /// Replaces a text in a file of text.
    func replace(_ path: String, _ text: String, with other: String) throws {
        try write(path, String(decoding: read(path), as: UTF8.self).replacing(text, with: other))
    }

    private func makeParent(_ path: String) throws {
        try FileManager.default.createDirectory(
            at: url(path).deletingLastPathComponent(), withIntermediateDirectories: true)
    }

    func makeDirectory(_ path: String) throws {
        try FileManager.default.createDirectory(at: url(path), withIntermediateDirectories: true)
    }

    func write(_ path: String, _ bytes: [UInt8]) throws {
        try makeParent(path)
        try Data(bytes).write(to: url(path))
    }

    func write(_ path: String, _ text: String) throws { try write(path, Array(text.utf8)) }

    func read(_ path: String) throws -> [UInt8] { Array(try Data(contentsOf: url(path))) }

    /// Leaves the first `count` bytes of a file, or all but `-count` of the last.
    func truncate(_ path: String, to count: Int) throws {
        let bytes = try read(path)
        try write(path, Array(bytes.prefix(count < 0 ? bytes.count + count : count)))
        try setModified(path, Self.sampleTime)
    }

    /// Changes one byte of a file.
    func flip(_ path: String, at offset: Int) throws {
        var bytes = try read(path)
        bytes[offset < 0 ? bytes.count + offset : offset] ^= 0x55
        try write(path, bytes)
        try setModified(path, Self.sampleTime)
    }

    func remove(_ path: String) throws { try FileManager.default.removeItem(at: url(path)) }

    func move(_ path: String, to other: String) throws {
        try makeParent(other)
        try FileManager.default.moveItem(at: url(path), to: url(other))
    }

    func link(_ path: String, to target: String) throws {
        try makeParent(path)
        try FileManager.default.createSymbolicLink(atPath: url(path).path, withDestinationPath: target)
    }

    /// Sets when a file was modified, in seconds since 1970.
    func setModified(_ path: String, _ seconds: Double) throws {
        try FileManager.default.setAttributes(
            [.modificationDate: Date(timeIntervalSince1970: seconds)], ofItemAtPath: url(path).path)
    }

    /// What a survey of it finds.
    func survey(_ options: SurveyOptions = SurveyOptions(), judges: [any Judge] = Judges.all) throws -> SurveyReport {
        var report = SurveyReport()
        try Survey(try LocalTree(root.path), options: options, judges: judges).run { report.take($0) }
        return report
    }

    /// What a deep survey of it finds.
    func deepSurvey() throws -> SurveyReport {
        var options = SurveyOptions()
        options.depth = .deep
        return try survey(options)
    }
}

/// The events of a survey.
struct SurveyReport {
    var checkpoints: [CheckpointFinding] = []
    var runs: [RunFinding] = []
    var unread: [String] = []

    mutating func take(_ event: Survey.Event) {
        switch event {
        case .checkpoint(let finding): checkpoints.append(finding)
        case .run(let run): runs.append(run)
        case .unread(let path, _): unread.append(path)
        }
    }

    /// The only finding.
    func only() throws -> CheckpointFinding {
        try #require(checkpoints.count == 1, "\(checkpoints.map { ($0.path, $0.format.rawValue) })")
        return checkpoints[0]
    }

    /// The finding at a path.
    func at(_ path: String) throws -> CheckpointFinding {
        let found = checkpoints.filter { $0.path == path }
        try #require(found.count == 1, "\(path) in \(checkpoints.map { ($0.path, $0.format.rawValue) })")
        return found[0]
    }

    /// The only run.
    func onlyRun() throws -> RunFinding {
        try #require(runs.count == 1, "\(runs.map { ($0.path, $0.format.rawValue) })")
        return runs[0]
    }
}

extension CheckpointFinding {
    /// All evidence in one text.
    var evidenceText: String { evidence.map(\.description).joined(separator: "\n") }
    /// All doubts in one text.
    var doubtText: String { doubts.joined(separator: "\n") }
}
