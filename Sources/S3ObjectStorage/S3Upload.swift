internal import Basics
internal import HTTPTransport
package import ObjectStorage

/// An object that is written to piece by piece, of a size that nobody knows before its end, in bounded memory.
///
/// What fits into one part is stored by one request. Anything longer goes in parts, a few under way at once while the next
/// one fills; each is tried again by itself. The object appears when `finish` returns, whole, or not at all.
///
/// One task uses it, and ends it by `finish` or `abandon`: an upload in parts that is neither stays behind in the bucket,
/// unseen and paid for.
package actor S3Upload {
    /// How an upload is cut up.
    package struct Limits: Sendable {
        /// Bytes of each of the first parts; S3 wants 5 MiB at least.
        package var partBytes = 6 << 20
        /// After so many parts their size doubles, and again after as many more: 10,000 parts carry 5.8 TiB, more than the
        /// 5 TiB that S3 takes, and up to 5.8 GiB all parts are equal, as some servers want them.
        package var partsOfOneSize = 1000
        /// Parts under way at once. Memory is one part more: 18 MiB up to 5.8 GiB; 1 GiB was seen to take 24 MB in all.
        package var concurrency = 2
        /// Of larger parts than this one is under way at a time.
        package var largePartBytes = 32 << 20

        package init() {}

        /// Bytes of part `number`, from 1.
        func bytes(ofPart number: Int) -> Int { partBytes << ((number - 1) / partsOfOneSize) }
    }

    private enum Phase { case open, ended }

    private let store: S3ObjectStore
    private let key: String
    private let limits: Limits
    private let retrier: Retrier
    private var phase = Phase.open
    /// What fills now.
    private var filling = Buffer(capacity: 64 << 10)
    private var idle: [Buffer] = []
    /// Nil until a second part is needed.
    private var uploadID: String?
    private var underWay: [(task: OwnedTask<S3ObjectStore.Part, ObjectStorageError>, buffer: Buffer)] = []
    private var parts: [S3ObjectStore.Part] = []
    private var bytesSent: UInt64 = 0

    /// S3's limit for an object.
    private static let maximumBytes: UInt64 = 5 << 40

    /// An empty object to be. Sends nothing yet.
    package init(
        _ store: S3ObjectStore, key: String, limits: Limits = Limits(), retrier: Retrier
    ) throws(ObjectStorageError) {
        precondition(limits.partBytes > 0 && limits.partsOfOneSize > 0 && limits.concurrency > 0)
        _ = try store.objectCall("store", .put, key)
        self.store = store
        self.key = key
        self.limits = limits
        self.retrier = retrier
    }

    /// Appends bytes; returns when there is room for more. After an error only `abandon` makes sense.
    package func write(_ bytes: [UInt8]) async throws(ObjectStorageError) {
        precondition(phase == .open, "an upload is written to after its end")
        var offset = 0
        while offset < bytes.count {
            let room = limits.bytes(ofPart: nextPart) - filling.count
            if room == 0 {
                try await sendPart()
                continue
            }
            let count = min(room, bytes.count - offset)
            bytes.withUnsafeBytes { filling.append(UnsafeRawBufferPointer(rebasing: $0[offset..<offset + count])) }
            offset += count
        }
    }

    /// Stores what was written under the key. On failure nothing is left behind, as far as the store can be reached;
    /// an error that `isAmbiguous` may have stored it.
    @discardableResult
    package func finish() async throws(ObjectStorageError) -> PutReceipt {
        precondition(phase == .open, "an upload is finished after its end")
        guard let uploadID else {
            phase = .ended
            let body = ObjectBody([filling])
            return try await retrier.run("store", key, in: store.location) { (_) throws(ObjectStorageError) in
                try await store.put(key, body, options: PutOptions())
            }
        }
        do throws(ObjectStorageError) {
            if filling.count > 0 { try await sendPart() }
            while !underWay.isEmpty { try await collectPart() }
        } catch {
            await abandon()
            throw error
        }
        do throws(ObjectStorageError) {
            let receipt = try await complete(uploadID)
            phase = .ended
            return receipt
        } catch {
            // What may have become an object is not aborted.
            if error.isAmbiguous { phase = .ended } else { await abandon() }
            throw error
        }
    }

    /// Cuts off what is under way and removes what was sent, even when the calling task is cancelled. Allowed at any time.
    package func abandon() async {
        guard phase == .open else { return }
        phase = .ended
        for (task, _) in underWay { task.cancel() }
        // A part that arrives after the abort would stay.
        for (task, _) in underWay { _ = await task.outcome() }
        underWay = []
        idle = []
        guard let uploadID else { return }
        let (store, key) = (store, key)
        let abort = OwnedTask<Void, Never> { await store.abandonUpload(key, uploadID) }
        _ = await abort.outcome()
    }

    private var nextPart: Int { parts.count + underWay.count + 1 }

    /// Starts sending the part that has filled, once there is room for one more.
    private func sendPart() async throws(ObjectStorageError) {
        let number = nextPart
        bytesSent += UInt64(filling.count)
        guard number <= S3ObjectStore.maximumParts, bytesSent <= Self.maximumBytes else {
            throw ObjectStorageError(
                .tooLarge, "cannot store \(key) in \(store.location): it has more bytes than S3 takes for one object")
        }
        let uploadID = try await beginIfNeeded()
        let concurrency = filling.count > limits.largePartBytes ? 1 : limits.concurrency
        while underWay.count >= concurrency { try await collectPart() }
        let (store, key, retrier, buffer) = (store, key, retrier, filling)
        let body = HTTPBody([buffer])
        let task = OwnedTask { () async throws(ObjectStorageError) in
            do throws(ObjectStorageError) {
                return try await retrier.run("store part \(number) of", key, in: store.location) {
                    (_) throws(ObjectStorageError) in try await store.sendPart(key, uploadID, number, body).get()
                }
            } catch {
                var error = error
                error.isAmbiguous = false  // No part is an object.
                throw error
            }
        }
        underWay.append((task, buffer))
        filling = idle.popLast() ?? Buffer(capacity: limits.bytes(ofPart: number))
    }

    private func beginIfNeeded() async throws(ObjectStorageError) -> String {
        if let uploadID { return uploadID }
        let id = try await retrier.run("begin the upload of", key, in: store.location) {
            (_) throws(ObjectStorageError) in try await store.beginUpload(key, PutOptions())
        }
        uploadID = id
        return id
    }

    /// Waits for the oldest part that is under way.
    private func collectPart() async throws(ObjectStorageError) {
        guard let (task, buffer) = underWay.first else { return }
        let part = try await task.value()
        underWay.removeFirst()
        parts.append(part)
        buffer.count = 0
        idle.append(buffer)
    }

    private func complete(_ uploadID: String) async throws(ObjectStorageError) -> PutReceipt {
        let (parts, size) = (parts, bytesSent)
        return try await retrier.run("complete the upload of", key, in: store.location) {
            (mayBeDone) throws(ObjectStorageError) in
            do throws(ObjectStorageError) {
                return try await store.completeUpload(key, uploadID, parts, PutOptions())
            } catch {
                // The upload is gone: an earlier attempt, whose answer was lost, has made the object of it.
                guard mayBeDone, error.code == .notFound else { throw error }
                let attributes = try await store.head(key)
                guard attributes.size == size else { throw error }
                return PutReceipt(tag: attributes.tag, date: attributes.date ?? attributes.modified)
            }
        }
    }
}
