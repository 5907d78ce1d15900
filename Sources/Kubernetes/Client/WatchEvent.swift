/// What a watch tells.
package enum WatchEvent: Sendable {
    /// All that there is now: at the beginning, and again when the server could not say what had happened meanwhile.
    /// What was known before and is not in it is gone.
    case synced([KubernetesObject])
    case added(KubernetesObject)
    case modified(KubernetesObject)
    /// With its last state.
    case deleted(KubernetesObject)
}

/// One line of a watch's answer.
enum WatchLine {
    case event(WatchEvent)
    /// Nothing but a newer resourceVersion.
    case bookmark
    /// A `Status`.
    case error(JSONValue)
}

/// Takes a watch's answer apart: one JSON object a line.
struct WatchDecoder {
    /// What is wrong with a line.
    struct Malformed: Error, CustomStringConvertible {
        let description: String
    }

    /// Bytes that a line may have: an object of etcd's limit (1.5 MiB) several times over.
    private static let maximumBytes = 64 << 20

    private var buffered: [UInt8] = []
    /// Where the next line begins; what is before it goes with the next bytes that come.
    private var start = 0
    /// Up to where there is no end of line.
    private var searched = 0

    /// Adds bytes of the answer.
    mutating func append(_ bytes: [UInt8]) throws(Malformed) {
        buffered.removeFirst(start)
        searched -= start
        start = 0
        buffered += bytes
        guard buffered.count <= Self.maximumBytes else { throw Malformed(description: "an event of more than 64 MiB") }
    }

    /// The next event with its resourceVersion, if a whole line is there.
    mutating func next() throws(Malformed) -> (line: WatchLine, resourceVersion: String)? {
        while let end = buffered[searched...].firstIndex(of: 0x0a) {
            let text = Array(buffered[start..<end])
            start = end + 1
            searched = start
            if text.allSatisfy({ $0 == 0x20 || $0 == 0x0d }) { continue }
            return try Self.parse(text)
        }
        searched = buffered.count
        return nil
    }

    private static func parse(_ text: [UInt8]) throws(Malformed) -> (line: WatchLine, resourceVersion: String) {
        let json: JSONValue
        do throws(JSONError) {
            json = try JSONValue(parsing: text)
        } catch {
            throw Malformed(description: "an event that is no JSON: \(error)")
        }
        let type = json["type"]?.string ?? ""
        guard let content = json["object"], let object = try? KubernetesObject(content) else {
            throw Malformed(description: "an event without an object")
        }
        let line: WatchLine =
            switch type {
            case "ADDED": .event(.added(object))
            case "MODIFIED": .event(.modified(object))
            case "DELETED": .event(.deleted(object))
            case "BOOKMARK": .bookmark
            case "ERROR": .error(content)
            default: throw Malformed(description: "an event of the unknown kind \(StatusMapping.line(type))")
            }
        return (line, object.resourceVersion)
    }
}
