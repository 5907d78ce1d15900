package import Basics

/// The bytes of an object in pieces, so that a pack is sent from where it was built. The pieces are only read.
package struct ObjectBody: Sendable {
    /// The pieces in order.
    package let pieces: [Buffer]
    /// Bytes in all pieces.
    package let count: Int

    /// A body of `pieces`, which nobody may change any more.
    package init(_ pieces: [Buffer]) {
        self.pieces = pieces
        count = pieces.reduce(0) { $0 + $1.count }
    }
}

/// A condition on what the store holds at the moment of a `put`.
package enum PutCondition: Hashable, Sendable {
    /// None: replace what is there.
    case none
    /// Only when there is no such object (`If-None-Match: *`).
    case ifAbsent
    /// Only when the object's tag is this one (`If-Match`).
    case ifTag(String)
}

/// Until when, and how firmly, an object may not be removed (S3 Object Lock).
package struct Retention: Hashable, Sendable {
    /// How firmly.
    package enum Mode: String, Sendable {
        /// Those with a special permission may lift it.
        case governance
        /// Nobody may lift it.
        case compliance
    }

    package var mode: Mode
    /// The object may be removed from then on.
    package var until: Timestamp

    package init(mode: Mode, until: Timestamp) {
        self.mode = mode
        self.until = until
    }
}

/// How to `put`.
package struct PutOptions: Hashable, Sendable {
    package var condition: PutCondition
    package var retention: Retention?

    package init(condition: PutCondition = .none, retention: Retention? = nil) {
        self.condition = condition
        self.retention = retention
    }
}

/// What a store says of an object.
package struct ObjectAttributes: Hashable, Sendable {
    package var key: String
    /// Bytes of the whole object.
    package var size: UInt64
    /// Opaque; changes when the object is put anew. No content hash.
    package var tag: String
    /// When it was stored, by the store's clock.
    package var modified: Timestamp
    /// The store's clock at the answer; nil in list pages.
    package var date: Timestamp?

    package init(key: String, size: UInt64, tag: String, modified: Timestamp, date: Timestamp? = nil) {
        self.key = key
        self.size = size
        self.tag = tag
        self.modified = modified
        self.date = date
    }
}

/// The answer to a `put`.
package struct PutReceipt: Hashable, Sendable {
    /// The new object's tag.
    package var tag: String
    /// The store's clock at the answer.
    package var date: Timestamp

    package init(tag: String, date: Timestamp) {
        self.tag = tag
        self.date = date
    }
}

/// A part of a listing.
package struct ObjectPage: Sendable {
    package var objects: [ObjectAttributes]
    /// Continues the listing; nil at its end.
    package var next: String?
    /// The store's clock at the answer.
    package var date: Timestamp

    package init(objects: [ObjectAttributes], next: String?, date: Timestamp) {
        self.objects = objects
        self.next = next
        self.date = date
    }
}

/// Which of the guarantees a store really gives; found by probing.
package struct StoreCapabilities: Hashable, Sendable {
    /// `put` with `.ifAbsent` refuses when the object exists.
    package var createIfAbsent: Bool
    /// `put` with `.ifTag` refuses when the tag differs.
    package var replaceIfTag: Bool
    /// `delete` with a tag refuses, in one step, when it differs.
    package var conditionalDelete: Bool
    /// `list` is in ascending byte order.
    package var listIsOrdered: Bool
    /// The store can keep objects under retention.
    package var retention: Bool

    package init(
        createIfAbsent: Bool, replaceIfTag: Bool, conditionalDelete: Bool, listIsOrdered: Bool, retention: Bool
    ) {
        self.createIfAbsent = createIfAbsent
        self.replaceIfTag = replaceIfTag
        self.conditionalDelete = conditionalDelete
        self.listIsOrdered = listIsOrdered
        self.retention = retention
    }
}

/// Where ranges of an object best begin: a directory store reads what begins at a multiple of a block straight from the
/// disk, past the page cache. To others it makes no difference.
package enum ObjectBlock {
    /// Bytes.
    package static let size: UInt64 = 4096

    /// The last place at or before `offset` where a block begins.
    package static func start(before offset: UInt64) -> UInt64 { offset / size * size }
}
