// A preload that does nothing: what any preload costs is not charged to the library.
int nothing_to_preload;
