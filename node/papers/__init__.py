"""The papers that a hospital's IT asks for, written for one configuration (`imaging-node papers`)."""
