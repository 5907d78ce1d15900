internal import Basics
internal import HTTPTransport
package import ObjectStorage
internal import Sealing
internal import Synchronization

extension S3ObjectStore {
    /// Bytes from which a conditional upload asks before it sends the body: the answer may be no.
    private static let expectContinueBytes = 1 << 20

    package func put(
        _ key: String, _ body: ObjectBody, options: PutOptions
    ) async throws(ObjectStorageError) -> PutReceipt {
        if options.retention != nil { try await requireLock("keep \(key) in \(location) under retention") }
        let content = HTTPBody(body.pieces)
        if content.count > client.configuration.multipartThreshold {
            return try await putInParts(key, content, options)
        }
        var call = try objectCall("store", .put, key)
        call.body = content
        call.headers = objectHeaders(options)
        call.concernsRetention = options.retention != nil
        call.expectsContinue = options.condition != .none && content.count >= Self.expectContinueBytes
        let response = try await withCondition(options.condition, key, call) { call throws(ObjectStorageError) in
            try await self.withLockChecksum(call, options)
        }
        return try await receipt(key, response)
    }

    /// Performs an upload with the checksum that is configured or demanded. A server that refuses what Object Lock
    /// demands because it knows only MD5 is asked once more with that, and remembered.
    private func withLockChecksum(
        _ call: S3Call, _ options: PutOptions
    ) async throws(ObjectStorageError) -> HTTPResponse {
        let option = client.configuration.checksum
        guard option == .auto else {
            return try await client.perform(await withChecksum(call, option)).response
        }
        guard options.retention != nil else { return try await client.perform(call).response }
        if lockNeedsMD5.withLock({ $0 }) {
            return try await client.perform(await withChecksum(call, .md5)).response
        }
        do throws(ObjectStorageError) {
            return try await client.perform(await withChecksum(call, .sha256)).response
        } catch {
            guard error.message.contains("MD5"), error.code == .unsupported || error.code == .failed else {
                throw error
            }
            let response = try await client.perform(await withChecksum(call, .md5)).response
            lockNeedsMD5.withLock { $0 = true }
            return response
        }
    }

    /// The call with a checksum header over its body.
    func withChecksum(_ call: S3Call, _ option: S3ChecksumOption) async -> S3Call {
        var call = call
        let body = call.body ?? HTTPBody([UInt8]())
        switch option {
        case .auto, .none: break
        case .crc32:
            call.headers.append(("x-amz-checksum-crc32", Base64.encode(await PayloadHash.crc32(body, .ieee))))
        case .crc32c:
            call.headers.append(("x-amz-checksum-crc32c", Base64.encode(await PayloadHash.crc32(body, .castagnoli))))
        case .sha1: call.headers.append(("x-amz-checksum-sha1", Base64.encode(await PayloadHash.sha1(body))))
        case .sha256:
            let digest = await PayloadHash.sha256(body).bytes
            call.bodyDigest = digest
            call.headers.append(("x-amz-checksum-sha256", Base64.encode(digest)))
        case .md5:
            call.headers.append(("Content-MD5", Base64.encode(await PayloadHash.md5(body))))
        }
        return call
    }

    /// Headers that describe a new object.
    func objectHeaders(_ options: PutOptions) -> [(name: String, value: String)] {
        let configuration = client.configuration
        var headers: [(name: String, value: String)] = [("Content-Type", "application/octet-stream")]
        if let value = configuration.serverSideEncryption { headers.append(("x-amz-server-side-encryption", value)) }
        if let value = configuration.encryptionKeyID {
            headers.append(("x-amz-server-side-encryption-aws-kms-key-id", value))
        }
        headers += configuration.customerKey?.headers ?? []
        if let value = configuration.storageClass { headers.append(("x-amz-storage-class", value)) }
        if let value = configuration.tagging { headers.append(("x-amz-tagging", value)) }
        if let retention = options.retention {
            headers.append(("x-amz-object-lock-mode", retention.mode.rawValue.uppercased()))
            headers.append(("x-amz-object-lock-retain-until-date", retention.untilText))
        }
        return headers
    }

    /// Performs a call that shall only succeed under `condition`.
    ///
    /// Tags are quoted in `If-Match`, as RFC 9110, 13.1.1, has it. Ceph's gateway compares them with the quotes and so
    /// refuses every tag: when the object still has the tag that was refused, it is sent once more without, and so from
    /// then on. The server compares each time, so nothing can slip in between.
    func withCondition<R: Sendable>(
        _ condition: PutCondition, _ key: String, _ call: S3Call,
        _ perform: (S3Call) async throws(ObjectStorageError) -> R
    ) async throws(ObjectStorageError) -> R {
        var call = call
        // Sent twice, the second would find the first's object and fail.
        call.isReplayable = condition == .none
        switch condition {
        case .none: return try await perform(call)
        case .ifAbsent:
            call.headers.append(("If-None-Match", "*"))
            return try await perform(call)
        case .ifTag(let tag):
            var bare = call
            bare.headers.append(("If-Match", tag))
            if comparesBareTags.withLock({ $0 }) { return try await perform(bare) }
            call.headers.append(("If-Match", Self.quoted(tag)))
            do throws(ObjectStorageError) {
                return try await perform(call)
            } catch {
                guard error.code == .preconditionFailed, try await isPresent(key, tag) else { throw error }
                let result = try await perform(bare)
                comparesBareTags.withLock { $0 = true }
                return result
            }
        }
    }

    /// Whether the object has that tag now.
    private func isPresent(_ key: String, _ tag: String) async throws(ObjectStorageError) -> Bool {
        do throws(ObjectStorageError) {
            return try await head(key).tag == tag
        } catch {
            guard error.code == .notFound else { throw error }
            return false
        }
    }

    /// The receipt for an answer; asks for the tag where the answer has none.
    func receipt(_ key: String, _ response: HTTPResponse, tag: String? = nil) async throws(ObjectStorageError)
        -> PutReceipt
    {
        let known = tag ?? Self.tag(response.headers["ETag"] ?? "")
        if !known.isEmpty { return PutReceipt(tag: known, date: client.date(response)) }
        return PutReceipt(tag: try await head(key).tag, date: client.date(response))
    }
}

extension Retention {
    /// The end as S3 writes it, rounded up to a second.
    var untilText: String {
        let isWhole = until.nanoseconds % 1_000_000_000 == 0
        return CalendarTime(Timestamp(seconds: until.seconds + (isWhole ? 0 : 1))).text
    }
}
