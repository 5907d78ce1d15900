internal import Basics
internal import HTTPTransport
package import ObjectStorage
internal import Synchronization

extension S3ObjectStore {
    package func extendRetention(_ key: String, _ retention: Retention) async throws(ObjectStorageError) {
        try await requireLock("extend the retention of \(key) in \(location)")
        var wanted = retention
        if let current = try await currentRetention(key) {
            // Only ever later and firmer: servers differ in what they allow the bucket's owner.
            if current.mode == .compliance { wanted.mode = .compliance }
            if current.until >= wanted.until, current.mode == wanted.mode { return }
            wanted.until = max(wanted.until, current.until)
        }
        var call = try objectCall("extend the retention of", .put, key)
        call.query = [("retention", "")]
        call.concernsRetention = true
        let text =
            "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Mode>\(wanted.mode.rawValue.uppercased())</Mode>"
            + "<RetainUntilDate>\(wanted.untilText)</RetainUntilDate></Retention>"
        call.body = HTTPBody(Array(text.utf8))
        call.headers.append(("Content-Type", "application/xml"))
        _ = try await client.perform(await withChecksum(call, .md5))
    }

    /// The retention that an object is under, as far as the credentials may see it; nil for none. Throws `.notFound`.
    package func currentRetention(_ key: String) async throws(ObjectStorageError) -> Retention? {
        // By HEAD, whose headers tell it everywhere; not every server answers GetObjectRetention.
        let headers = try await headResponse(try objectCall("ask the retention of", .head, key)).headers
        guard let mode = headers["x-amz-object-lock-mode"].flatMap({ Retention.Mode(rawValue: $0.lowercased()) }),
            let until = headers["x-amz-object-lock-retain-until-date"].flatMap({ CalendarTime.parse(rfc3339: $0) })
        else { return nil }
        return Retention(mode: mode, until: until)
    }

    /// Asks the bucket whether it can keep objects under retention (GetObjectLockConfiguration). The answer is kept, and
    /// `capabilities` tell it from then on. Throws any temporary code, `.noSuchBucket` and what concerns credentials.
    @discardableResult
    package func readLockSupport() async throws(ObjectStorageError) -> Bool {
        var call = S3Call(action: "ask for the Object Lock of", label: nil, method: .get, key: nil)
        call.query = [("object-lock", "")]
        var isEnabled = false
        do throws(ObjectStorageError) {
            let answer = try document(try await client.perform(call).body, call)
            // A server that knows nothing of it takes the request for a listing.
            isEnabled = answer.name == "ObjectLockConfiguration" && answer["ObjectLockEnabled"]?.text == "Enabled"
        } catch {
            switch error.code {
            case .unsupported, .notFound, .failed, .invalidArgument: break
            // Not ours to ask, which is no no: a server with such permissions refuses retention itself if need be.
            case .accessDenied: isEnabled = true
            default: throw error
            }
        }
        lockSupport.withLock { $0 = isEnabled }
        return isEnabled
    }

    /// Throws `.unsupported` unless the bucket has Object Lock. Servers without it ignore the headers of a `put`, and
    /// some take PutObjectRetention for a PutObject and overwrite the object: so this is asked before the first use.
    func requireLock(_ action: String) async throws(ObjectStorageError) {
        let known = lockSupport.withLock { $0 }
        let isEnabled = if let known { known } else { try await readLockSupport() }
        guard !isEnabled else { return }
        throw ObjectStorageError(
            .unsupported, "cannot \(action): the bucket keeps nothing under retention; create one with Object Lock")
    }
}
