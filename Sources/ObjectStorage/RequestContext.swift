/// What a store was about to do, so that every error tells it in the same words.
struct RequestContext: Sendable {
    /// A verb: "store", "read", "list", "delete".
    let action: String
    /// The object's key or the listing's prefix; empty for the store as a whole.
    let key: String
    /// The store's `location`.
    let location: String

    /// "cannot read data/ab/x in /srv/backups: why".
    func error(
        _ code: ObjectStorageError.Code, _ why: String, cause: (any Error)? = nil, isAmbiguous: Bool = false,
        fileID: String = #fileID, line: UInt32 = #line
    ) -> ObjectStorageError {
        let object = key.isEmpty ? location : "\(key) in \(location)"
        return ObjectStorageError(
            code, "cannot \(action) \(object): \(why)", cause: cause, isAmbiguous: isAmbiguous, fileID: fileID,
            line: line)
    }

    /// The error for a missing object.
    func notFound(fileID: String = #fileID, line: UInt32 = #line) -> ObjectStorageError {
        error(.notFound, "there is no such object", fileID: fileID, line: line)
    }

    /// The error for a task that was cancelled before the request was done.
    func cancelled(isAmbiguous: Bool = false, fileID: String = #fileID, line: UInt32 = #line) -> ObjectStorageError {
        error(.cancelled, "the operation was cancelled", isAmbiguous: isAmbiguous, fileID: fileID, line: line)
    }

    /// Throws `.cancelled` once the calling task is cancelled.
    func checkCancellation() throws(ObjectStorageError) {
        if Task.isCancelled { throw cancelled() }
    }

    /// Which bytes of an object of `size` bytes a `get` of `range` yields.
    ///
    /// Throws `.invalidArgument` when the range is empty or begins at or past the end, as HTTP's 416 does, and
    /// `.tooLarge` when more than `maximumBytes` would have to be read.
    func resolve(
        _ range: Range<UInt64>?, size: UInt64, maximumBytes: Int
    ) throws(ObjectStorageError) -> Range<UInt64> {
        var wanted = 0..<size
        if let range {
            guard !range.isEmpty, range.lowerBound < size else {
                throw error(
                    .invalidArgument,
                    "bytes \(range.lowerBound) up to \(range.upperBound) were asked for and it has \(size)")
            }
            wanted = range.lowerBound..<min(range.upperBound, size)
        }
        guard wanted.upperBound - wanted.lowerBound <= UInt64(max(0, maximumBytes)) else {
            throw error(
                .tooLarge,
                "it would take \(wanted.upperBound - wanted.lowerBound) bytes and at most \(maximumBytes) are expected")
        }
        return wanted
    }
}
