internal import RepositoryFormat

/// What a file consists of, in its order, while its pieces become known in any.
///
/// What is known from the file's start on is kept as it is stored, and only what is behind a gap has a place of its own: an
/// item for each MiB of a device of many TiB, most of it holes, is no list of millions.
struct FileItems {
    /// From the file's start, without a gap.
    private(set) var settled: [ContentItem]
    /// What follows; nil for what is not known yet. The first `passed` are in `settled` already.
    private var open: [ContentItem?] = []
    private var passed = 0
    /// The number of the first of `open`.
    private var first = 0
    /// Whether holes that lie side by side become one.
    private let joinsHoles: Bool

    /// Begins with what is known.
    init(_ settled: [ContentItem], joinsHoles: Bool) {
        self.settled = settled
        self.joinsHoles = joinsHoles
    }

    /// Whether all of it is known.
    var isSettled: Bool { passed == open.count }

    /// Goes on with an item.
    mutating func append(_ item: ContentItem) {
        if isSettled { pass(item) } else { open.append(item) }
    }

    /// Goes on with an item that is not known yet; answers its number, for `settle`.
    mutating func reserve() -> Int {
        if isSettled {
            first += open.count
            open.removeAll(keepingCapacity: true)
            passed = 0
        }
        open.append(nil)
        return first + open.count - 1
    }

    /// Says what an item is; once for each number.
    mutating func settle(_ number: Int, _ item: ContentItem) {
        open[number - first] = item
        while passed < open.count, let next = open[passed] {
            pass(next)
            passed += 1
        }
        // Seldom enough that each is moved about once.
        guard passed >= 1024, passed >= open.count / 2 else { return }
        open.removeFirst(passed)
        first += passed
        passed = 0
    }

    private mutating func pass(_ item: ContentItem) {
        if joinsHoles, case .hole(let more) = item, case .hole(let length)? = settled.last {
            settled[settled.count - 1] = .hole(length + more)
        } else {
            settled.append(item)
        }
    }

    /// Hands all of it over; nothing is left.
    mutating func take() -> [ContentItem] {
        defer { self = FileItems([], joinsHoles: joinsHoles) }
        return settled
    }
}
