internal import Basics
internal import RepositoryFormat
internal import Sealing

/// Keeps files of different parts apart that only look like hard links of each other: device and inode numbers mean
/// nothing beyond the machine, and the day, that they are from.
///
/// What comes to different places gets different devices. Parts that come to the same place may be of one tree: a file that
/// all of number, times, size and content say is the same one stays linked to itself.
struct JoinLinks {
    private struct Device: Hashable {
        let part: Int
        let device: UInt64
    }

    /// What tells a file with several names from every other at its place.
    private struct Trace: Hashable {
        let place: Int
        let inode: UInt64
        let changed: Timestamp
        let modified: Timestamp
        let size: UInt64
        let digest: Digest?
        let target: [UInt8]
    }

    /// By part, the number of its place; parts of one place share it.
    private let places: [Int]
    private let sharedPlaces: Set<Int>
    private var devices: [Device: UInt64] = [:]
    private var taken: Set<UInt64> = []
    private var traces: [Trace: UInt64] = [:]
    /// Above every number that a kernel gives a device (32 bits).
    private var next: UInt64 = 1 << 40

    init(_ parts: [JoinPart]) {
        var numbers: [[[UInt8]]: Int] = [:]
        var counts: [Int: Int] = [:]
        places = parts.map { part in
            let number = numbers[part.place] ?? numbers.count
            numbers[part.place] = number
            counts[number, default: 0] += 1
            return number
        }
        sharedPlaces = Set(counts.filter { $0.value > 1 }.keys)
    }

    /// The entry of a part as it stands in the joined snapshot.
    mutating func adopt(_ entry: TreeEntry, of part: Int) -> TreeEntry {
        guard entry.metadata.linkCount > 1, entry.metadata.type != .directory else { return entry }
        var adopted = entry
        let own = device(Device(part: part, device: entry.metadata.device))
        adopted.metadata.device = own
        guard sharedPlaces.contains(places[part]), entry.metadata.type != .regular || entry.fileDigest != nil else {
            return adopted
        }
        let trace = Trace(
            place: places[part], inode: entry.metadata.inode, changed: entry.metadata.changed,
            modified: entry.metadata.modified, size: entry.metadata.size, digest: entry.fileDigest,
            target: entry.metadata.linkTarget)
        if let device = traces[trace] {
            adopted.metadata.device = device
        } else {
            traces[trace] = own
        }
        return adopted
    }

    private mutating func device(_ device: Device) -> UInt64 {
        if let known = devices[device] { return known }
        var number = device.device
        while !taken.insert(number).inserted {
            number = next
            next += 1
        }
        devices[device] = number
        return number
    }
}
