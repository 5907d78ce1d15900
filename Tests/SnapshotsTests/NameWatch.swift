import Glibc
import SystemPackage

/// Names as they appear in directories of the target, in order, but temporary ones.
final class NameWatch {
    private let descriptor = inotify_init1(CInt(O_NONBLOCK))
    private var names: [CInt: String] = [:]

    func add(_ path: FilePath, as name: String, leaving: Bool = false) {
        let mask = leaving ? UInt32(IN_DELETE) | UInt32(IN_MOVED_FROM) : UInt32(IN_CREATE) | UInt32(IN_MOVED_TO)
        names[inotify_add_watch(descriptor, path.string, mask)] = name
    }

    func events() -> [String] {
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        let count = read(descriptor, &buffer, buffer.count)
        var events: [String] = []
        var position = 0
        while position + 16 <= count {
            // struct inotify_event: wd, mask, cookie, len, name (inotify(7)).
            let (watch, length) = buffer.withUnsafeBytes {
                (
                    $0.loadUnaligned(fromByteOffset: position, as: CInt.self),
                    Int($0.loadUnaligned(fromByteOffset: position + 12, as: UInt32.self))
                )
            }
            let name = String(
                decoding: buffer[position + 16..<position + 16 + length].prefix { $0 != 0 }, as: UTF8.self)
            if !name.hasPrefix(".becalm-part-") { events.append("\(names[watch] ?? "?")/\(name)") }
            position += 16 + length
        }
        return events
    }

    deinit { close(descriptor) }
}
