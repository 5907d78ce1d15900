/// Something that Velero calls for items of a backup or a restore. Items, backups and restores are JSON.
///
/// Every call may be served by a process of its own, and calls come at once: an action keeps nothing in memory from one
/// call to the next.
package protocol ItemAction: Sendable {
    var name: PluginName { get }

    /// Which items the action is for; Velero asks once a backup or restore.
    func appliesTo() async throws(VeleroError) -> ResourceSelector
}

/// An action on items that are backed up (BackupItemAction, version 2).
package protocol BackupItemAction: ItemAction {
    /// Looks at one item. An error keeps the item out of the backup.
    func execute(item: [UInt8], backup: [UInt8]) async throws(VeleroError) -> BackupItemOutcome

    /// How far an operation is that `execute` of some process began. Answers for what nobody knows with a failure.
    func progress(operation: String, backup: [UInt8]) async throws(VeleroError) -> OperationStatus

    /// Asks an operation to end. Succeeds for one that has ended.
    func cancel(operation: String, backup: [UInt8]) async throws(VeleroError)
}

/// An action on items that are restored (RestoreItemAction, version 2).
package protocol RestoreItemAction: ItemAction {
    /// Looks at one item: `item` as it will be created, `original` as it was backed up, with its status.
    func execute(
        item: [UInt8], original: [UInt8], restore: [UInt8]
    ) async throws(VeleroError) -> RestoreItemOutcome

    /// How far an operation is that `execute` of some process began. Answers for what nobody knows with a failure.
    func progress(operation: String, restore: [UInt8]) async throws(VeleroError) -> OperationStatus

    /// Asks an operation to end. Succeeds for one that has ended.
    func cancel(operation: String, restore: [UInt8]) async throws(VeleroError)

    /// Whether the items that an outcome asked to wait for are usable; asked about every second.
    func areReady(_ items: [ResourceIdentifier], restore: [UInt8]) async throws(VeleroError) -> Bool
}

/// An action on items of a backup that is deleted. It may come again for the same item, and may throw only what should keep
/// the backup.
package protocol DeleteItemAction: ItemAction {
    func execute(item: [UInt8], backup: [UInt8]) async throws(VeleroError)
}

/// Names the items that belong into one block with another: they are backed up together, between the same hooks.
package protocol ItemBlockAction: ItemAction {
    func relatedItems(item: [UInt8], backup: [UInt8]) async throws(VeleroError) -> [ResourceIdentifier]
}

/// What became of an item that is backed up.
package struct BackupItemOutcome: Sendable {
    /// The item, never empty: the bytes that came where nothing is to change.
    package var item: [UInt8]
    /// Backed up right after this one.
    package var additionalItems: [ResourceIdentifier] = []
    /// Names what goes on after the call, whole: another process is asked about it. Nil for nothing.
    package var operation: String?
    /// Read from the cluster again when the operation has ended.
    package var postOperationItems: [ResourceIdentifier] = []

    package init(item: [UInt8]) { self.item = item }
}

/// What became of an item that is restored.
package struct RestoreItemOutcome: Sendable {
    /// The item, never empty, even where it is skipped.
    package var item: [UInt8]
    /// Restored before this one.
    package var additionalItems: [ResourceIdentifier] = []
    /// The item is not created, and no other action sees it.
    package var isSkipped = false
    /// Names what goes on after the call, whole. Nil for nothing.
    package var operation: String?
    /// Wait for the additional items to be usable.
    package var waitsForAdditionalItems = false
    /// Seconds to wait at most; nil leaves it to Velero.
    package var waitSeconds: Int?

    package init(item: [UInt8]) { self.item = item }
}
