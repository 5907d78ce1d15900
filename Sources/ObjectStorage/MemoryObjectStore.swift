package import Basics
internal import Synchronization

/// Objects in memory, with every capability, a clock that the caller rules, and lies on demand: what the layers above
/// are tested with.
///
/// The members never wait; the lock is held for a copy of the bytes at most. Objects under retention can neither be
/// removed nor replaced until the store's clock has passed the date.
package final class MemoryObjectStore: ObjectStore {
    /// How the store deviates from what it promises, as some real servers do.
    package struct Behaviour: Hashable, Sendable {
        /// Stores although `.ifAbsent` was asked for and the object exists (answers 200 to `If-None-Match`).
        package var ignoresCreateIfAbsent = false
        /// Stores although `.ifTag` does not hold.
        package var ignoresReplaceIfTag = false
        /// Deletes although the tag is another.
        package var ignoresDeleteTag = false
        /// Lists in an order of its own: by the names read backwards.
        package var listsUnordered = false
        /// Objects in a page of a listing.
        package var pageSize = 1000

        /// An honest store.
        package init() {}
    }

    private struct Object {
        var bytes: Buffer
        var tag: String
        var modified: Timestamp
        var retention: Retention?
    }

    private struct State {
        var objects: [String: Object] = [:]
        /// The keys in ascending byte order.
        var keys: [String] = []
        var puts: UInt64 = 0

        /// Index of the first key that is not below `key`.
        func position(of key: String) -> Int {
            var low = 0
            var high = keys.count
            while low < high {
                let middle = (low + high) / 2
                if keys[middle] < key { low = middle + 1 } else { high = middle }
            }
            return low
        }
    }

    package let location: String
    package let capabilities: StoreCapabilities
    private let behaviour: Behaviour
    private let clock: any WallClock
    private let state = Mutex(State())

    /// An empty store that tells the time by `clock`, claims `capabilities` and behaves as `behaviour` says.
    package init(
        clock: any WallClock = SystemWallClock(), behaviour: Behaviour = Behaviour(),
        capabilities: StoreCapabilities = StoreCapabilities(
            createIfAbsent: true, replaceIfTag: true, conditionalDelete: true, listIsOrdered: true, retention: true),
        location: String = "memory"
    ) {
        self.clock = clock
        self.behaviour = behaviour
        self.capabilities = capabilities
        self.location = location
    }

    package func put(
        _ key: String, _ body: ObjectBody, options: PutOptions
    ) async throws(ObjectStorageError) -> PutReceipt {
        let request = try begin("store", key)
        if options.retention != nil && !capabilities.retention {
            throw request.error(.unsupported, "this store keeps no object under retention")
        }
        let bytes = Buffer(capacity: body.count)
        for piece in body.pieces { bytes.append(piece.bytes) }
        let now = clock.now()
        return try state.withLock { (state) throws(ObjectStorageError) in
            let present = state.objects[key]
            switch options.condition {
            case .ifAbsent where present != nil && !behaviour.ignoresCreateIfAbsent:
                throw request.error(.preconditionFailed, "the object exists already")
            case .ifTag(let tag) where present?.tag != tag && !behaviour.ignoresReplaceIfTag:
                throw request.error(.preconditionFailed, "the object is not the one that was read before")
            default: break
            }
            if let present { try Self.checkRetention(of: present, now, request) }
            state.puts += 1
            let tag = "\(state.puts)"
            if present == nil { state.keys.insert(key, at: state.position(of: key)) }
            state.objects[key] = Object(bytes: bytes, tag: tag, modified: now, retention: options.retention)
            return PutReceipt(tag: tag, date: now)
        }
    }

    package func get(
        _ key: String, range: Range<UInt64>?, into buffer: Buffer, maximumBytes: Int
    ) async throws(ObjectStorageError) -> ObjectAttributes {
        let request = try begin("read", key)
        buffer.count = 0
        let object = try find(key, request)
        let wanted = try request.resolve(range, size: UInt64(object.bytes.count), maximumBytes: maximumBytes)
        buffer.ensureCapacity(wanted.count)
        buffer.append(
            UnsafeRawBufferPointer(rebasing: object.bytes.bytes[Int(wanted.lowerBound)..<Int(wanted.upperBound)]))
        return attributes(key, object)
    }

    package func head(_ key: String) async throws(ObjectStorageError) -> ObjectAttributes {
        let request = try begin("look up", key)
        return attributes(key, try find(key, request))
    }

    package func list(prefix: String, token: String?) async throws(ObjectStorageError) -> ObjectPage {
        try ObjectKey.checkPrefix(prefix)
        try RequestContext(action: "list", key: prefix, location: location).checkCancellation()
        let now = clock.now()
        return state.withLock { state in
            var keys: ArraySlice<String>
            if behaviour.listsUnordered {
                keys =
                    state.keys.filter { $0.hasPrefix(prefix) }.sorted {
                        $0.reversed().lexicographicallyPrecedes($1.reversed())
                    }[...]
                if let token { keys = keys.drop { !token.reversed().lexicographicallyPrecedes($0.reversed()) } }
            } else {
                keys = state.keys[state.position(of: prefix)...]
                if let token {
                    let start = state.position(of: token)
                    keys = keys[max(start, keys.startIndex)...].drop { $0 == token }
                }
                keys = keys.prefix { $0.hasPrefix(prefix) }
            }
            let page = keys.prefix(behaviour.pageSize)
            let objects = page.compactMap { key in
                state.objects[key].map {
                    ObjectAttributes(key: key, size: UInt64($0.bytes.count), tag: $0.tag, modified: $0.modified)
                }
            }
            return ObjectPage(objects: objects, next: keys.count > page.count ? page.last : nil, date: now)
        }
    }

    package func delete(_ key: String, ifTag: String?) async throws(ObjectStorageError) {
        let request = try begin("delete", key)
        let now = clock.now()
        try state.withLock { (state) throws(ObjectStorageError) in
            guard let present = state.objects[key] else {
                if ifTag == nil { return }
                throw request.notFound()
            }
            if let ifTag, present.tag != ifTag, !behaviour.ignoresDeleteTag {
                throw request.error(.preconditionFailed, "the object is not the one that was read before")
            }
            try Self.checkRetention(of: present, now, request)
            state.objects[key] = nil
            state.keys.remove(at: state.position(of: key))
        }
    }

    package func extendRetention(_ key: String, _ retention: Retention) async throws(ObjectStorageError) {
        let request = try begin("extend the retention of", key)
        guard capabilities.retention else {
            throw request.error(.unsupported, "this store keeps no object under retention")
        }
        try state.withLock { (state) throws(ObjectStorageError) in
            guard let present = state.objects[key] else { throw request.notFound() }
            var longer = retention
            if let old = present.retention {
                longer.until = max(old.until, retention.until)
                if old.mode == .compliance { longer.mode = .compliance }
            }
            state.objects[key]?.retention = longer
        }
    }

    package func serverTime() async throws(ObjectStorageError) -> Timestamp {
        try RequestContext(action: "ask for the time of", key: "", location: location).checkCancellation()
        return clock.now()
    }

    /// Objects held, for tests that count.
    package var count: Int { state.withLock { $0.objects.count } }

    /// The retention of the object, or nil when it has none or does not exist.
    package func retention(of key: String) -> Retention? { state.withLock { $0.objects[key]?.retention } }

    private func begin(_ action: String, _ key: String) throws(ObjectStorageError) -> RequestContext {
        try ObjectKey.check(key, action)
        let request = RequestContext(action: action, key: key, location: location)
        try request.checkCancellation()
        return request
    }

    private func find(_ key: String, _ request: RequestContext) throws(ObjectStorageError) -> Object {
        guard let object = state.withLock({ $0.objects[key] }) else { throw request.notFound() }
        return object
    }

    private func attributes(_ key: String, _ object: Object) -> ObjectAttributes {
        ObjectAttributes(
            key: key, size: UInt64(object.bytes.count), tag: object.tag, modified: object.modified, date: clock.now())
    }

    private static func checkRetention(
        of object: Object, _ now: Timestamp, _ request: RequestContext
    ) throws(ObjectStorageError) {
        guard let retention = object.retention, retention.until > now else { return }
        throw request.error(.locked, "it is under retention until \(CalendarTime(retention.until).text)")
    }
}
