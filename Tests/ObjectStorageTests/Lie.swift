import ObjectStorage

/// A promise that a memory store can be told to break, and what it must no longer be trusted with then.
enum Lie: CaseIterable {
    case create, replace, delete, order

    var behaviour: WritableKeyPath<MemoryObjectStore.Behaviour, Bool> {
        switch self {
        case .create: \.ignoresCreateIfAbsent
        case .replace: \.ignoresReplaceIfTag
        case .delete: \.ignoresDeleteTag
        case .order: \.listsUnordered
        }
    }

    var lost: WritableKeyPath<StoreCapabilities, Bool> {
        switch self {
        case .create: \.createIfAbsent
        case .replace: \.replaceIfTag
        case .delete: \.conditionalDelete
        case .order: \.listIsOrdered
        }
    }
}
