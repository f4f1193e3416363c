;; A file that is there: these tests read configurations, not components.
(component)
